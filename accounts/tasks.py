"""The queue's door to accounts."""

from __future__ import annotations

from accounts import notifications
from common.jobs import job


@job("accounts.mail_notification", max_attempts=20)
def mail_notification(*, notification_id: int) -> None:
    """One e-mail."""
    notifications.mail_notification(notification_id)
