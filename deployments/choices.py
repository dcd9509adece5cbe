"""States of endpoints and of their revisions."""

from __future__ import annotations

from django.db.models import TextChoices


class EndpointState(TextChoices):
    PENDING = "Pending", "Pending"
    DEPLOYING = "Deploying", "Deploying"
    ACTIVE = "Active", "Active"
    UPDATING = "Updating", "Updating"
    DEGRADED = "Degraded", "Degraded"
    UNDEPLOYING = "Undeploying", "Undeploying"
    INACTIVE = "Inactive", "Inactive"
    FAILED = "Failed", "Failed"


class RevisionState(TextChoices):
    PENDING = "Pending", "Pending"
    DEPLOYING = "Deploying", "Deploying"
    ACTIVE = "Active", "Active"
    RETIRED = "Retired", "Retired"
    FAILED = "Failed", "Failed"


class Wanted(TextChoices):
    RUNNING = "Running", "Running"
    STOPPED = "Stopped", "Stopped"
    DELETED = "Deleted", "Deleted"
