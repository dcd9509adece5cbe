"""Endpoints: what is wanted of them, and what the engine was last seen to do."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.models import Project, User
from deployments.choices import EndpointState, EngineName, RevisionState, Wanted
from registry.models import ModelVersion, RegisteredModel


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    def visible_to(self, user: User) -> Self:
        return self.alive().filter(project__memberships__user=user)

    def alive(self) -> Self:
        return self.exclude(wanted=Wanted.DELETED)

    def with_details(self) -> Self:
        return self.select_related(
            "project",
            "model",
            "created_by",
            "wanted_revision__version",
            "serving_revision__version",
            "shadow_revision__version",
        )


class Deployment(models.Model):
    """An endpoint. `wanted_revision` is what people asked for, `serving_revision` what answers requests now.

    While both are healthy and differ, `canary_percent` of the requests go to the wanted one. `shadow_revision`
    gets copies; its answers are compared and counted, never returned. `failing` says in a sentence that too many of
    its requests fail, and is empty while they do not (see watching). `next_rollout` is what was asked for while a
    change is on its way, which keeps its own; null when nothing was. `away` says why its engine cannot be asked for more
    than a moment, and is empty while it can.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="deployments")
    endpoint_name = models.CharField(max_length=63)
    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="deployments")
    description = models.TextField(blank=True)
    wanted = models.CharField(max_length=16, choices=Wanted, default=Wanted.RUNNING)
    state = models.CharField(max_length=16, choices=EndpointState, default=EndpointState.PENDING)
    reason = models.TextField(blank=True)
    failing = models.TextField(blank=True, default="", db_default="", editable=False)
    away = models.TextField(blank=True, default="", db_default="", editable=False)
    warnings = ArrayField(models.TextField(), default=list, blank=True)
    wanted_revision = models.ForeignKey(
        "DeploymentRevision", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    serving_revision = models.ForeignKey(
        "DeploymentRevision", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    shadow_revision = models.ForeignKey(
        "DeploymentRevision", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    canary_percent = models.PositiveSmallIntegerField(default=0)
    next_rollout = models.JSONField(null=True, blank=True, editable=False)
    follows = models.CharField(max_length=64, blank=True)
    engine = models.CharField(max_length=16, choices=EngineName, blank=True)
    rate_limit = models.PositiveIntegerField(null=True, blank=True)
    timeout_seconds = models.PositiveSmallIntegerField(default=60)
    max_body_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    wake_asked_at = models.DateTimeField(null=True, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    is_new = False  # True in what the verb that made it gives back

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        ordering = ("-updated_at", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "endpoint_name"],
                condition=~models.Q(wanted="Deleted"),
                name="endpoint_name_once_per_project",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=EndpointState.values), name="endpoint_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(canary_percent__lte=100), name="endpoint_canary_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return self.endpoint_name

    @property
    def rollout(self) -> dict[str, Any]:
        """How the traffic moves to the next revision."""
        if self.next_rollout is not None:
            return dict(self.next_rollout)
        return dict(self.wanted_revision.rollout) if self.wanted_revision else {}


class DeploymentRevision(models.Model):
    """One wanted combination of version and settings; a change makes the next revision.

    `replicas` is how many processes are wanted now, between `min_replicas` and `max_replicas`; 0 while asleep.
    `rollout` is {} to move all traffic at once, else the steps and limits of a canary (see rollouts). `warnings` say how
    it runs otherwise than asked for; those of the wanted revision, or of the one that it falls back to, are the endpoint's.
    `awaited_at` is since when it is to answer: its start, or its last loss or waking. `started_at` is put off beyond that
    while it is prepared.
    """

    deployment = models.ForeignKey(
        Deployment, on_delete=models.CASCADE, related_name="revisions", db_index=False
    )
    number = models.PositiveIntegerField()
    service_id = models.CharField(max_length=40, unique=True)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="deployment_revisions")
    gpu_type = models.CharField(max_length=40, blank=True)
    min_replicas = models.PositiveSmallIntegerField(default=1)
    max_replicas = models.PositiveSmallIntegerField(default=1)
    idle_seconds = models.PositiveIntegerField(default=300)
    replicas = models.PositiveSmallIntegerField(default=1)
    ready_replicas = models.PositiveSmallIntegerField(default=0)
    max_batch_size = models.PositiveIntegerField(default=1)
    max_delay_ms = models.PositiveIntegerField(default=0)
    rollout = models.JSONField(default=dict, blank=True)
    rollout_step = models.PositiveSmallIntegerField(default=0)
    step_at = models.DateTimeField(null=True, blank=True)
    is_shadow = models.BooleanField(default=False, db_default=False)
    state = models.CharField(max_length=16, choices=RevisionState, default=RevisionState.PENDING)
    reason = models.TextField(blank=True)
    warnings = ArrayField(models.TextField(), default=list, db_default=[], blank=True)
    address = models.CharField(max_length=200, blank=True, editable=False)
    serving_key = models.CharField(max_length=80, blank=True, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    awaited_at = models.DateTimeField(null=True, blank=True, editable=False)
    active_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-number",)
        constraints = [
            models.UniqueConstraint(fields=["deployment", "number"], name="revision_number_once_per_endpoint")
        ]

    def __str__(self) -> str:
        return f"{self.deployment} r{self.number}"


class DeploymentEvent(models.Model):
    """What happened to an endpoint, one sentence each; append-only."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="events")
    revision = models.ForeignKey(
        DeploymentRevision, on_delete=models.SET_NULL, null=True, related_name="events"
    )
    state = models.CharField(max_length=16, choices=EndpointState)
    message = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.message


class EndpointTraffic(models.Model):
    """What one revision answered in ten seconds, written by the gateway; shadow copies are counted apart.

    `refused` were answered 4xx, `unfit` of them by the model itself; the gateway refuses the rest for whichever revision
    serves. `buckets` counts answers by latency (LATENCY_EDGES_MS). `peaks` are the most requests at once in each of the
    seconds, summed over all gateway processes, `peak_in_flight` the largest of them. Of shadow copies, `agreed` and
    `differed` count the answers that were compared with what was returned.
    """

    deployment = models.ForeignKey(
        Deployment, on_delete=models.CASCADE, related_name="traffic", db_index=False
    )
    revision = models.ForeignKey(
        DeploymentRevision, on_delete=models.CASCADE, related_name="traffic", db_index=False
    )
    at = models.DateTimeField()
    shadow = models.BooleanField(default=False, db_default=False)
    requests = models.PositiveIntegerField(default=0, db_default=0)
    refused = models.PositiveIntegerField(default=0, db_default=0)
    unfit = models.PositiveIntegerField(default=0, db_default=0)
    errors = models.PositiveIntegerField(default=0, db_default=0)
    total_ms = models.FloatField(default=0, db_default=0)
    buckets = ArrayField(models.PositiveIntegerField(), default=list)
    peaks = ArrayField(models.PositiveIntegerField(), default=list, db_default=[], blank=True)
    peak_in_flight = models.PositiveIntegerField(default=0, db_default=0)
    agreed = models.PositiveIntegerField(default=0, db_default=0)
    differed = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        ordering = ("-at",)
        verbose_name_plural = "endpoint traffic"
        constraints = [models.UniqueConstraint(fields=["revision", "at", "shadow"], name="traffic_slot_once")]
        indexes = [
            models.Index(fields=["deployment", "at"], name="traffic_by_endpoint"),
            models.Index(fields=["at"], name="traffic_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.deployment} {self.at:%H:%M:%S}"


class ReplicaSample(models.Model):
    """How many replicas an endpoint was to have and had at one moment."""

    deployment = models.ForeignKey(
        Deployment, on_delete=models.CASCADE, related_name="replica_samples", db_index=False
    )
    at = models.DateTimeField(default=timezone.now)
    wanted = models.PositiveIntegerField()
    ready = models.PositiveIntegerField()

    class Meta:
        ordering = ("-at",)
        indexes = [
            models.Index(fields=["deployment", "at"], name="replicas_by_endpoint"),
            models.Index(fields=["at"], name="replicas_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.deployment} {self.ready}/{self.wanted}"
