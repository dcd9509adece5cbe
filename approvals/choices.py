"""States of requests, votes, and the checks that a policy may ask for."""

from __future__ import annotations

from django.db.models import TextChoices


class RequestState(TextChoices):
    PENDING = "Pending", "Pending"
    APPROVED = "Approved", "Approved"
    REJECTED = "Rejected", "Rejected"
    CANCELLED = "Cancelled", "Cancelled"
    EXPIRED = "Expired", "Expired"
    SUPERSEDED = "Superseded", "Superseded"
    BYPASSED = "Bypassed", "Bypassed"


class Vote(TextChoices):
    APPROVE = "approve", "approved"
    REJECT = "reject", "rejected"


class EventKind(TextChoices):
    """What happened to a request beside its votes and its end."""

    COMMENT = "comment", "commented"
    EVIDENCE = "evidence", "evidence changed"
    REMINDER = "reminder", "reminded"


class CheckKind(TextChoices):
    METRIC_AT_LEAST = "metric_at_least", "Metric at least"
    METRIC_AT_MOST = "metric_at_most", "Metric at most"
    NOT_WORSE = "not_worse", "Not worse than Production"
    TAG = "tag", "Annotation present"
    DATASET = "dataset", "Dataset recorded"
    SCAN_CLEAN = "scan_clean", "File scan clean"
    DESCRIPTION = "description", "Description written"
