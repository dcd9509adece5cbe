"""Registered models, their versions, and the history of stages and aliases."""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils import timezone

from accounts.choices import Door
from accounts.models import Project, User
from artifacts.models import Manifest
from registry.choices import Stage, VersionStatus
from tracking.models import Run


class RegisteredModelQuerySet(models.QuerySet["RegisteredModel"]):
    def visible_to(self, user: User) -> Self:
        return self.alive().filter(project__memberships__user=user)

    def alive(self) -> Self:
        return self.filter(deleted_at=None)

    def with_summary(self) -> Self:
        """What a row of the list shows, in a fixed number of queries: adds `production_number`, `version_count`."""
        versions = ModelVersion.objects.alive().filter(model=models.OuterRef("pk"))
        production = versions.filter(stage=Stage.PRODUCTION).order_by("-number").values("number")[:1]
        count = versions.order_by().values("model").annotate(n=models.Count("pk")).values("n")
        return (
            self.annotate(
                production_number=models.Subquery(production),
                version_count=models.functions.Coalesce(models.Subquery(count), 0),
            )
            .select_related("project", "created_by", "latest_version")
            .prefetch_related("aliases__version")
        )


class RegisteredModel(models.Model):
    """A named line of versions. `last_number` counts up under this row's lock and is never given back."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="models")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    tags = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    last_number = models.PositiveIntegerField(default=0, editable=False)
    latest_version = models.ForeignKey(
        "ModelVersion", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = RegisteredModelQuerySet.as_manager()

    class Meta:
        ordering = ("-updated_at", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=models.Q(deleted_at=None),
                name="model_name_once_per_project",
            )
        ]
        indexes = [
            models.Index(fields=["project", "-updated_at", "-id"], name="models_by_change"),
            GinIndex(fields=["tags"], name="models_by_tag"),
        ]

    def __str__(self) -> str:
        return self.name


class Inspection(models.Model):
    """What a worker found in one set of files, kept so that the same files are looked at once.

    `rules` names the scan's rules at that time: under newer ones the files are looked at again.
    """

    manifest = models.OneToOneField(Manifest, on_delete=models.CASCADE, related_name="inspection")
    rules = models.CharField(max_length=20)
    status = models.CharField(max_length=16, choices=VersionStatus)
    status_reason = models.TextField(blank=True)
    format = models.CharField(max_length=40, blank=True)
    framework = models.CharField(max_length=40, blank=True)
    servable = models.BooleanField(default=False)
    servable_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.manifest}: {self.status}"


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def visible_to(self, user: User) -> Self:
        return self.alive().filter(model__project__memberships__user=user)

    def alive(self) -> Self:
        return self.filter(deleted_at=None, model__deleted_at=None)

    def with_details(self) -> Self:
        """Everything that one version's answer shows, in a fixed number of queries."""
        return self.select_related(
            "model__project", "manifest", "created_by", "source_run__experiment"
        ).prefetch_related("metrics", "params", "tags", "aliases")


class ModelVersion(models.Model):
    """One immutable set of files with a number of its own."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    stage = models.CharField(max_length=16, choices=Stage, default=Stage.NONE)
    status = models.CharField(max_length=16, choices=VersionStatus, default=VersionStatus.PENDING)
    status_reason = models.TextField(blank=True)
    description = models.TextField(blank=True)
    source_run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="versions")
    artifact_path = models.CharField(max_length=1024)
    manifest = models.ForeignKey(Manifest, on_delete=models.PROTECT, related_name="versions")
    format = models.CharField(max_length=40, blank=True)
    framework = models.CharField(max_length=40, blank=True)
    servable = models.BooleanField(default=False)
    servable_reason = models.TextField(blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_by_door = models.CharField(max_length=16, choices=Door)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ("-number",)
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="version_number_once_per_model"),
            models.CheckConstraint(condition=models.Q(stage__in=Stage.values), name="version_stage_known"),
            models.CheckConstraint(condition=models.Q(number__gte=1), name="version_number_from_one"),
        ]
        indexes = [
            models.Index(fields=["model", "-number"], name="versions_of_model"),
            models.Index(
                fields=["model", "stage"],
                condition=~models.Q(stage="None") & models.Q(deleted_at=None),
                name="staged_versions",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} v{self.number}"


class VersionMetric(models.Model):
    """The final value of a source run's metric when the version was made."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="metrics")
    key = models.CharField(max_length=250)
    value = models.FloatField()

    class Meta:
        ordering = ("key",)
        constraints = [models.UniqueConstraint(fields=["version", "key"], name="metric_once_per_version")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class VersionParam(models.Model):
    """A source run's parameter when the version was made."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="params")
    key = models.CharField(max_length=250)
    value = models.JSONField()

    class Meta:
        ordering = ("key",)
        constraints = [models.UniqueConstraint(fields=["version", "key"], name="param_once_per_version")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class VersionTag(models.Model):
    """An annotation: key and value, both text."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="tags")
    key = models.CharField(max_length=250)
    value = models.CharField(max_length=5000, blank=True)

    class Meta:
        ordering = ("key",)
        constraints = [models.UniqueConstraint(fields=["version", "key"], name="tag_once_per_version")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class StageTransition(models.Model):
    """One move of one version between stages; never changed, never removed."""

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="transitions")
    from_stage = models.CharField(max_length=16, choices=Stage)
    to_stage = models.CharField(max_length=16, choices=Stage)
    note = models.TextField(blank=True)
    actor = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    door = models.CharField(max_length=16, choices=Door)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.version}: {self.from_stage} → {self.to_stage}"


class Alias(models.Model):
    """A name that points to one version of its model."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="aliases")
    name = models.CharField(max_length=64)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="aliases")
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "aliases"
        constraints = [models.UniqueConstraint(fields=["model", "name"], name="alias_once_per_model")]

    def __str__(self) -> str:
        return f"{self.model}@{self.name}"


class AliasMove(models.Model):
    """One move of an alias: from nothing (set), to nothing (removed), or between versions; never changed."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="alias_moves")
    name = models.CharField(max_length=64)
    from_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="+")
    to_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="+")
    actor = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    door = models.CharField(max_length=16, choices=Door)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.model}@{self.name}"
