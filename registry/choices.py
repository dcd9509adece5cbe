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


class Relation(TextChoices):
    """What a version is to its parent."""

    FINE_TUNED = "fine_tuned", "fine-tuned from"
    ADAPTER = "adapter", "adapter of"
    DISTILLED = "distilled", "distilled from"
    QUANTIZED = "quantized", "quantized from"
    MERGED = "merged", "merged from"


class MetricKind(TextChoices):
    TRAINING = "training", "training"
    VALIDATION = "validation", "validation"


class Protected(TextChoices):
    ALIAS = "alias", "alias"
    STAGE = "stage", "stage"
