"""Registered models, their versions, and the history of stages and aliases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Left, Upper
from django.utils import timezone

from accounts.choices import Door, Role
from accounts.models import Project, User
from artifacts.models import Manifest
from registry.choices import MetricKind, Protected, Relation, Stage, VersionStatus
from tracking.models import Run


class RegisteredModelQuerySet(models.QuerySet["RegisteredModel"]):
    def visible_to(self, user: User) -> Self:
        return self.alive().filter(project__memberships__user=user)

    def alive(self) -> Self:
        return self.filter(deleted_at=None)


class RegisteredModel(models.Model):
    """A named line of versions, both counted under this row's lock.

    `last_number` is never given back; `version_count` leaves deleted versions out. What is deleted lies in the
    trash until `purged_at`; the row stays for its histories and for the numbers.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="models", db_index=False)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    tags = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    last_number = models.PositiveIntegerField(default=0, editable=False)
    version_count = models.PositiveIntegerField(default=0, editable=False)
    latest_version = models.ForeignKey(
        "ModelVersion", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, editable=False)
    deleted_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    purged_at = models.DateTimeField(null=True, editable=False)

    # What pages show beside: set where `registry.shown` read the model.
    latest_number: int | None = None
    latest_stage: str | None = None
    production_number: int | None = None
    live_endpoints: Sequence[str] = ()

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
            models.Index(
                fields=["project", "-updated_at", "-id"],
                condition=models.Q(deleted_at=None),
                name="living_models_by_change",
            ),
            models.Index(fields=["project", "name"], name="models_of_name"),
            models.Index(
                fields=["deleted_at"],
                condition=models.Q(deleted_at__isnull=False, purged_at=None),
                name="models_in_trash",
            ),
            GinIndex(fields=["tags"], name="models_by_tag"),
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="models_by_name_text"),
            GinIndex(OpClass(Upper("description"), name="gin_trgm_ops"), name="models_by_description"),
        ]

    def __str__(self) -> str:
        return self.name


class Inspection(models.Model):
    """What a worker found in one set of files, kept so that the same files are looked at once.

    `rules` names the scan's rules at that time: under newer ones the files are looked at again. `details` says
    what the files hold: their types, tensors and signature.
    """

    manifest = models.OneToOneField(Manifest, on_delete=models.CASCADE, related_name="inspection")
    rules = models.CharField(max_length=20)
    status = models.CharField(max_length=16, choices=VersionStatus)
    status_reason = models.TextField(blank=True)
    format = models.CharField(max_length=40, blank=True)
    framework = models.CharField(max_length=40, blank=True)
    servable = models.BooleanField(default=False)
    servable_reason = models.TextField(blank=True)
    details = models.JSONField(default=dict)
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
        related = ("model__project", "manifest", "created_by", "source_run__experiment", "parent__model")
        metrics = models.Prefetch("metrics", VersionMetric.objects.order_by("kind", "key"))
        return self.select_related(*related).prefetch_related(metrics, "params", "tags", "aliases")


class ModelVersion(models.Model):
    """One immutable set of files with a number of its own.

    It came from a run of this project, or from a version elsewhere that `origin` names. `former_aliases` pointed
    to it when it was deleted. Once purged, it has the manifest without files.
    """

    model = models.ForeignKey(
        RegisteredModel, on_delete=models.PROTECT, related_name="versions", db_index=False
    )
    number = models.PositiveIntegerField()
    stage = models.CharField(max_length=16, choices=Stage, default=Stage.NONE)
    # Set while it stands in Production of a project that wants one at most: the index below keeps it so.
    is_sole = models.BooleanField(default=False, editable=False)
    status = models.CharField(max_length=16, choices=VersionStatus, default=VersionStatus.PENDING)
    status_reason = models.TextField(blank=True)
    description = models.TextField(blank=True)
    source_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="versions")
    artifact_path = models.CharField(max_length=1024, blank=True)
    origin = models.JSONField(default=dict, editable=False)
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children"
    )
    relation = models.CharField(max_length=16, choices=Relation, blank=True)
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
    deleted_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    former_aliases = ArrayField(models.CharField(max_length=64), default=list, editable=False)
    purged_at = models.DateTimeField(null=True, editable=False)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ("-number",)
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="version_number_once_per_model"),
            models.CheckConstraint(condition=models.Q(stage__in=Stage.values), name="version_stage_known"),
            models.CheckConstraint(condition=models.Q(number__gte=1), name="version_number_from_one"),
            models.UniqueConstraint(
                fields=["model"],
                condition=models.Q(stage="Production", is_sole=True, deleted_at=None),
                name="one_sole_production_version",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="versions_by_age"),
            models.Index(
                fields=["stage", "model"],
                condition=~models.Q(stage="None") & models.Q(deleted_at=None),
                name="models_by_stage",
            ),
            models.Index(
                fields=["deleted_at"],
                condition=models.Q(deleted_at__isnull=False, purged_at=None),
                name="versions_in_trash",
            ),
            models.Index(
                fields=["model", "stage"],
                condition=~models.Q(stage="None") & models.Q(deleted_at=None),
                name="staged_versions",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} v{self.number}"


class RunInput(models.Model):
    """A version that a run started from. `ref` is what it was asked for by: a number or an alias."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="inputs", db_index=False)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="used_by")
    ref = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("id",)
        constraints = [models.UniqueConstraint(fields=["run", "version"], name="version_once_per_run")]

    def __str__(self) -> str:
        return f"{self.run} uses {self.version}"


class VersionMetric(models.Model):
    """The final value of a source run's metric when the version was made, or one found by a later validation."""

    version = models.ForeignKey(
        ModelVersion, on_delete=models.CASCADE, related_name="metrics", db_index=False
    )
    kind = models.CharField(max_length=16, choices=MetricKind, default=MetricKind.TRAINING)
    key = models.CharField(max_length=250)
    value = models.FloatField()

    class Meta:
        ordering = ("key",)
        constraints = [
            models.UniqueConstraint(fields=["version", "kind", "key"], name="metric_once_per_version")
        ]
        indexes = [models.Index(fields=["key", "value"], name="versions_by_metric")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class VersionParam(models.Model):
    """A source run's parameter when the version was made."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="params", db_index=False)
    key = models.CharField(max_length=250)
    value = models.JSONField()

    class Meta:
        ordering = ("key",)
        constraints = [models.UniqueConstraint(fields=["version", "key"], name="param_once_per_version")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class VersionTag(models.Model):
    """An annotation: key and value, both text."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="tags", db_index=False)
    key = models.CharField(max_length=250)
    value = models.CharField(max_length=5000, blank=True)

    class Meta:
        ordering = ("key",)
        constraints = [models.UniqueConstraint(fields=["version", "key"], name="tag_once_per_version")]
        indexes = [models.Index("key", Left("value", 100), name="versions_by_tag")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class StageTransition(models.Model):
    """One move of one version between stages; never changed, never removed.

    Where a policy covered it, `approval` is the request's id, `approved_by` who approved, on which `evidence`;
    a bypassed policy leaves `bypass_reason`.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="transitions")
    from_stage = models.CharField(max_length=16, choices=Stage)
    to_stage = models.CharField(max_length=16, choices=Stage)
    note = models.TextField(blank=True)
    actor = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    door = models.CharField(max_length=16, choices=Door)
    approval = models.CharField(max_length=40, blank=True)
    approved_by = ArrayField(models.CharField(max_length=150), default=list, blank=True)
    evidence = models.CharField(max_length=64, blank=True)
    bypass_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.version}: {self.from_stage} → {self.to_stage}"


class Alias(models.Model):
    """A name that points to one version of its model."""

    model = models.ForeignKey(
        RegisteredModel, on_delete=models.PROTECT, related_name="aliases", db_index=False
    )
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


class Protection(models.Model):
    """Who alone may move an alias or move versions to a stage: of one model, or of all models of the project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="protections", db_index=False)
    model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, null=True, blank=True, related_name="protections"
    )
    kind = models.CharField(max_length=8, choices=Protected)
    name = models.CharField(max_length=64)
    roles = ArrayField(models.CharField(max_length=16, choices=Role), default=list, blank=True)
    groups = models.ManyToManyField(Group, blank=True, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("kind", "name", "id")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "model", "kind", "name"],
                name="one_protection_each",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of {self.model or self.project}"
