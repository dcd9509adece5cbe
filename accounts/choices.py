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
    MAINTAIN = "maintain", "delete things, set rules, and see webhooks and the audit trail"
    ADMIN = "admin", "manage members and tokens"


class Notice(TextChoices):
    """What people are told of."""

    APPROVAL_REQUESTED = "approval_requested", "A request waits for my review"
    APPROVAL_REMINDER = "approval_reminder", "A request that waits for my review expires soon"
    APPROVAL_STALE = "approval_stale", "What I approved has changed"
    APPROVAL_COMMENT = "approval_comment", "Somebody comments on a request of mine"
    APPROVAL_DECIDED = "approval_decided", "My request is decided"
    POLICY_BYPASSED = "policy_bypassed", "A policy that I review for was bypassed"
    SCHEDULE_FAILED = "schedule_failed", "An execution of my schedule failed"
    RUN_ALERT = "run_alert", "An alert on my run fired"
    ENDPOINT_FAILED = "endpoint_failed", "My endpoint failed or is degraded"
    IMPACT = "impact", "Something that I made depends on what turned out wrong"
    WEBHOOK_OFF = "webhook_off", "A webhook was switched off"


# Those that come by e-mail too, unless a person chooses otherwise.
MAILED = frozenset(Notice) - {Notice.APPROVAL_COMMENT, Notice.APPROVAL_STALE, Notice.RUN_ALERT}


class HookFormat(TextChoices):
    """What a webhook's receiver understands."""

    STANDARD = "standard", "JSON, signed (Standard Webhooks)"
    SLACK = "slack", "Slack"
    TEAMS = "teams", "Microsoft Teams"
    DISCORD = "discord", "Discord"


class DeliveryState(TextChoices):
    WAITING = "Waiting", "Waiting"
    DELIVERED = "Delivered", "Delivered"
    FAILED = "Failed", "Failed"


class Door(TextChoices):
    SDK = "sdk", "SDK"
    CLI = "cli", "command line"
    REST = "rest", "REST API"
    PORTAL = "portal", "portal"
    ADMIN = "admin", "admin"
    JOB = "job", "background job"
    COMMAND = "command", "management command"
