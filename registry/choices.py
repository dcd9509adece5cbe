"""Stages and states of a model version."""

from __future__ import annotations

from django.db.models import TextChoices


class Stage(TextChoices):
    NONE = "None", "None"
    STAGING = "Staging", "Staging"
    PRODUCTION = "Production", "Production"
    ARCHIVED = "Archived", "Archived"


class VersionStatus(TextChoices):
    PENDING = "Pending", "Pending"
    READY = "Ready", "Ready"
    QUARANTINED = "Quarantined", "Quarantined"
