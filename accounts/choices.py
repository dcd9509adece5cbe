"""Who may do what, in words that the database keeps."""

from __future__ import annotations

from django.db.models import TextChoices


class Role(TextChoices):
    VIEWER = "viewer", "Viewer"
    CONTRIBUTOR = "contributor", "Contributor"
    MAINTAINER = "maintainer", "Maintainer"
    ADMIN = "admin", "Admin"


class Scope(TextChoices):
    READ = "read", "Read"
    WRITE = "write", "Write"
    PREDICT = "predict", "Predict"
    ADMIN = "admin", "Admin"


class Right(TextChoices):
    """What a verb asks of its actor."""

    READ = "read", "read"
    PREDICT = "predict", "ask endpoints for predictions"
    REVIEW = "review", "review requests"
    WRITE = "write", "change things"
    MAINTAIN = "maintain", "delete things and set rules"
    ADMIN = "admin", "manage members and tokens"


class Door(TextChoices):
    SDK = "sdk", "SDK"
    CLI = "cli", "command line"
    REST = "rest", "REST API"
    PORTAL = "portal", "portal"
    ADMIN = "admin", "admin"
    JOB = "job", "background job"
    COMMAND = "command", "management command"
