"""States of executions, and what a schedule does when its moments come badly."""

from __future__ import annotations

from django.db.models import TextChoices


class CodeState(TextChoices):
    """Whether training code can be run: what comes from a Git repository has to be fetched first."""

    READY = "Ready", "Ready"
    FETCHING = "Fetching", "Fetching"
    FAILED = "Failed", "Failed"


class ExecutionState(TextChoices):
    QUEUED = "Queued", "Queued"
    RUNNING = "Running", "Running"
    SUCCEEDED = "Succeeded", "Succeeded"
    FAILED = "Failed", "Failed"
    KILLED = "Killed", "Killed"
    SKIPPED = "Skipped", "Skipped"
    MISSED = "Missed", "Missed"


OPEN_STATES = (ExecutionState.QUEUED, ExecutionState.RUNNING)


class Trigger(TextChoices):
    """Why an execution came to be."""

    CRON = "cron", "by its cron expression"
    MANUAL = "manual", "by a person"
    RETRY = "retry", "because the one before failed"


class EngineName(TextChoices):
    LOCAL = "local", "The worker's machine"
    RAY = "ray", "The cluster"


class Overlap(TextChoices):
    """What becomes of a moment at which the execution before still runs."""

    SKIP = "skip", "Skip the new one"
    QUEUE = "queue", "Let the new one wait"
    REPLACE = "replace", "Stop the old one"


class CatchUp(TextChoices):
    """What becomes of moments at which the platform was away."""

    NONE = "none", "They are missed"
    LAST = "last", "The last one starts late"


class EndReason(TextChoices):
    """Why a training process ended otherwise than well."""

    FAILED = "failed", "It ended with an error"
    KILLED = "killed", "It was stopped"
    OUT_OF_MEMORY = "out of memory", "It used more memory than allowed"
    OVER_CPU = "over cpu", "It used more CPU than allowed"
    OVER_TIME = "over time", "It ran longer than allowed"
    LOST = "lost", "Its process vanished"
    NOT_STARTED = "not started", "It could not be started"
    REFUSED = "refused", "The platform refused it, as it would again"
