"""States of a run."""

from __future__ import annotations

from django.db.models import TextChoices


class RunStatus(TextChoices):
    RUNNING = "Running", "Running"
    COMPLETED = "Completed", "Completed"
    FAILED = "Failed", "Failed"
    KILLED = "Killed", "Killed"
