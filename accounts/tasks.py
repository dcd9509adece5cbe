"""The queue's door to accounts."""

from __future__ import annotations

import random

from django.conf import settings

from accounts import invitations, notifications, webhooks
from common.jobs import Again, job, should_make_way


@job("accounts.mail_notification", max_attempts=20, long=True)
def mail_notification(*, notification_id: int) -> None:
    """One e-mail."""
    notifications.mail_notification(notification_id)


@job("accounts.mail_invitation", max_attempts=20, long=True)
def mail_invitation(*, invitation_id: int) -> None:
    """One letter with a link."""
    invitations.mail_invitation(invitation_id)


@job("accounts.deliver_webhook", max_attempts=20, long=True)
def deliver_webhook(*, delivery_id: int) -> Again | None:
    """One attempt to tell a webhook.

    Receivers are strangers' and may be slow: they never hold all places of long jobs while other work waits.
    """
    if should_make_way("accounts.deliver_webhook", most=max(1, settings.LONG_JOBS - 1)):
        return Again(random.uniform(0.5, 1.5))
    return webhooks.deliver(delivery_id)
