"""The queue's door to accounts."""

from __future__ import annotations

from accounts import invitations, notifications, webhooks
from common.jobs import Again, job


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
    """One attempt to tell a webhook."""
    return webhooks.deliver(delivery_id)
