"""What was asked of the cluster, so that all of it can be said again to a head that has forgotten."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class WantedApplication(models.Model):
    """An application of the cluster's Serve, word for word as it is put."""

    name = models.CharField(max_length=100, unique=True)
    config = models.JSONField()
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class SubmittedJob(models.Model):
    """A job that the cluster took. When it knows this job no more, its head was lost, and the job with it."""

    name = models.CharField(max_length=100, unique=True)
    accepted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
