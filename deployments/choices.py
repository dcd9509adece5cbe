"""States of endpoints and of their revisions."""

from __future__ import annotations

from django.db.models import TextChoices


class EndpointState(TextChoices):
    PENDING = "Pending", "Pending"
    DEPLOYING = "Deploying", "Deploying"
    ACTIVE = "Active", "Active"
    UPDATING = "Updating", "Updating"
    DEGRADED = "Degraded", "Degraded"
    ASLEEP = "Asleep", "Asleep"
    UNDEPLOYING = "Undeploying", "Undeploying"
    INACTIVE = "Inactive", "Inactive"
    FAILED = "Failed", "Failed"


class RevisionState(TextChoices):
    PENDING = "Pending", "Pending"
    DEPLOYING = "Deploying", "Deploying"
    ACTIVE = "Active", "Active"
    ASLEEP = "Asleep", "Asleep"
    RETIRED = "Retired", "Retired"
    FAILED = "Failed", "Failed"


class Wanted(TextChoices):
    RUNNING = "Running", "Running"
    STOPPED = "Stopped", "Stopped"
    DELETED = "Deleted", "Deleted"


class EngineName(TextChoices):
    LOCAL = "local", "This machine"
    RAY = "ray", "Ray cluster"


# Seconds that one row of an endpoint's traffic counts.
SLOT_SECONDS = 10
# Upper edges of the latency histogram; one more bucket counts what took longer than the last.
LATENCY_EDGES_MS = (
    *(0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700),
    *(1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 60_000),
)
