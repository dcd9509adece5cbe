"""Endpoints: what is wanted of them, and what the engine was last seen to do."""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.models import Project, User
from deployments.choices import EndpointState, RevisionState, Wanted
from registry.models import ModelVersion, RegisteredModel


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    def visible_to(self, user: User) -> Self:
        return self.alive().filter(project__memberships__user=user)

    def alive(self) -> Self:
        return self.exclude(wanted=Wanted.DELETED)

    def with_details(self) -> Self:
        return self.select_related(
            "project", "model", "created_by", "wanted_revision__version", "serving_revision__version"
        )


class Deployment(models.Model):
    """An endpoint. `wanted_revision` is what people asked for, `serving_revision` what answers requests now."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="deployments")
    endpoint_name = models.CharField(max_length=63)
    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="deployments")
    description = models.TextField(blank=True)
    wanted = models.CharField(max_length=16, choices=Wanted, default=Wanted.RUNNING)
    state = models.CharField(max_length=16, choices=EndpointState, default=EndpointState.PENDING)
    reason = models.TextField(blank=True)
    warnings = ArrayField(models.TextField(), default=list, blank=True)
    wanted_revision = models.ForeignKey(
        "DeploymentRevision", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    serving_revision = models.ForeignKey(
        "DeploymentRevision", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

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
        ]

    def __str__(self) -> str:
        return self.endpoint_name


class DeploymentRevision(models.Model):
    """One wanted combination of version and settings; a change makes the next revision."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    service_id = models.CharField(max_length=40, unique=True)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="deployment_revisions")
    gpu_type = models.CharField(max_length=40, blank=True)
    min_replicas = models.PositiveSmallIntegerField(default=1)
    max_replicas = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=16, choices=RevisionState, default=RevisionState.PENDING)
    reason = models.TextField(blank=True)
    address = models.CharField(max_length=200, blank=True, editable=False)
    serving_key = models.CharField(max_length=80, blank=True, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
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
