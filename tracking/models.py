"""Experiments, runs and what runs record."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import Project, User
from artifacts.models import Blob
from tracking.choices import RunStatus


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(project__memberships__user=user)

    def with_run_count(self) -> Self:
        """Adds `run_count`: runs that were not deleted."""
        alive = models.Q(runs__deleted_at=None)
        return self.annotate(run_count=models.Count("runs", filter=alive))


class Experiment(models.Model):
    """A named group of runs; its public id is `exp-…`."""

    public_id = models.CharField(max_length=40, unique=True)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="experiments", db_index=False)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    tags = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="experiment_name_once_per_project")
        ]

    def __str__(self) -> str:
        return self.name


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(project__memberships__user=user, deleted_at=None)

    def alive(self) -> Self:
        return self.filter(deleted_at=None)

    def with_details(self) -> Self:
        """Everything that one run's answer shows, in a fixed number of queries."""
        return self.select_related("experiment", "created_by", "parent").prefetch_related(
            "params", "metrics", "tags", "dataset_links__dataset", "files__blob"
        )

    def with_summary(self) -> Self:
        """What lists show of each run, its files counted (`artifact_count`, `artifact_bytes`) and not read."""
        files = RunFile.objects.filter(run=models.OuterRef("pk")).order_by().values("run")
        count = models.Subquery(files.annotate(n=models.Count("pk")).values("n"))
        size = models.Subquery(files.annotate(n=models.Sum("blob__size")).values("n"))
        return (
            self.select_related("project", "experiment", "created_by", "parent")
            .prefetch_related("params", "metrics", "tags", "dataset_links__dataset")
            .annotate(
                artifact_count=Coalesce(count, 0),
                artifact_bytes=Coalesce(size, 0, output_field=models.BigIntegerField()),
            )
        )


class Run(models.Model):
    """One execution of training code; its public id is `run-…`, unique in its project.

    What is deleted lies in the trash until `purged_at`; the row stays, so that its id is never used again.
    """

    public_id = models.CharField(max_length=40)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="runs", db_index=False)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="runs", db_index=False)
    name = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=16, choices=RunStatus, default=RunStatus.RUNNING)
    error = models.TextField(blank=True)
    notes = models.TextField(blank=True)
    code_version = models.CharField(max_length=200, blank=True)
    environment = models.JSONField(default=dict, blank=True)
    # Whether a batch of points need look for alerts at all; says so a little longer than they wait.
    has_alerts = models.BooleanField(default=False, editable=False)
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children"
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    purged_at = models.DateTimeField(null=True, editable=False)

    # Set by start_run on what it returns: the run was there before and goes on.
    resumed = False

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ("-started_at", "-id")
        constraints = [
            models.UniqueConstraint(fields=["project", "public_id"], name="run_id_once_per_project"),
            models.CheckConstraint(condition=models.Q(status__in=RunStatus.values), name="run_status_known"),
        ]
        indexes = [
            models.Index(fields=["experiment", "-started_at", "-id"], name="runs_of_experiment"),
            models.Index(fields=["project", "-started_at", "-id"], name="runs_of_project"),
            models.Index(
                fields=["deleted_at"],
                condition=models.Q(deleted_at__isnull=False, purged_at=None),
                name="runs_in_trash",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.public_id

    @property
    def duration(self) -> timedelta:
        return (self.ended_at or timezone.now()) - self.started_at


class RunParam(models.Model):
    """A parameter: one scalar JSON value per key, logged once."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="params", db_index=False)
    key = models.CharField(max_length=250)
    value = models.JSONField()

    class Meta:
        ordering = ("key",)
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="param_once_per_run")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class RunTag(models.Model):
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tags", db_index=False)
    key = models.CharField(max_length=250)
    value = models.CharField(max_length=5000, blank=True)

    class Meta:
        ordering = ("key",)
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="tag_once_per_run")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class RunMetric(models.Model):
    """What lists and comparisons show of a series, kept beside it so that they never read it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metrics", db_index=False)
    key = models.CharField(max_length=250)
    last = models.FloatField()
    last_step = models.BigIntegerField()
    last_at = models.DateTimeField()
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    count = models.BigIntegerField()

    class Meta:
        ordering = ("key",)
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="metric_once_per_run")]

    def __str__(self) -> str:
        return f"{self.key}={self.last}"


class MetricChunk(models.Model):
    """The points of one batch, as arrays of equal length: a row per batch, not per point.

    steps: whole numbers; timestamps: milliseconds since 1970, UTC; values: 64-bit floats, NaN and ±Infinity included.
    """

    # The database need not check what write_series knows: a check per chunk would cost as much as storing it.
    metric = models.ForeignKey(
        RunMetric, on_delete=models.CASCADE, db_constraint=False, related_name="chunks"
    )
    steps = ArrayField(models.BigIntegerField())
    timestamps = ArrayField(models.BigIntegerField())
    values = ArrayField(models.FloatField())

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{len(self.steps)} points"


class RunAlert(models.Model):
    """A condition on one metric of a run, `key operator threshold`; it fires once, by the first value that meets it."""

    public_id = models.CharField(max_length=40, unique=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="alerts")
    condition = models.CharField(max_length=400)
    key = models.CharField(max_length=250)
    operator = models.CharField(max_length=2)
    threshold = models.FloatField()
    message = models.TextField(blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    fired_at = models.DateTimeField(null=True, blank=True)
    fired_value = models.FloatField(null=True, blank=True)
    fired_step = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.condition


class Dataset(models.Model):
    """Data that runs used. Another digest under the same name is another dataset."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="datasets", db_index=False)
    name = models.CharField(max_length=200)
    digest = models.CharField(max_length=128, blank=True)
    path = models.CharField(max_length=1024, blank=True)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    bad_at = models.DateTimeField(null=True, blank=True)
    bad_reason = models.TextField(blank=True)
    bad_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ("name", "id")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name", "digest", "path"], name="dataset_once_per_project"
            )
        ]
        indexes = [
            models.Index(fields=["project"], condition=models.Q(bad_at__isnull=False), name="bad_datasets")
        ]

    def __str__(self) -> str:
        return self.name


class RunDataset(models.Model):
    """Stays when a run's records are purged: what a dataset led to is known for ever."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="dataset_links", db_index=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="run_links")
    context = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(
                fields=["run", "dataset", "context"], name="dataset_once_per_run_and_context"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id}: {self.dataset_id}"


class RunFile(models.Model):
    """A file that the run collected; a version pins what lies here when it is made."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="files", db_index=False)
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("path",)
        constraints = [models.UniqueConstraint(fields=["run", "path"], name="path_once_per_run")]

    def __str__(self) -> str:
        return self.path
