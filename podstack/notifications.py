"""Calls on what you are told, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podstack.calls import Calls, given
from podstack.models import Notification, NotificationChoice


class NotificationCalls(Calls):
    """All of it is about the person behind the token."""

    def list_notifications(
        self, unread: bool | None = None, kind: str | None = None
    ) -> Iterator[Notification]:
        """What you were told in this project, the newest first."""
        asked = None if unread is None else str(unread).lower()
        return self.listed(Notification.from_json, ("notifications",), unread=asked, kind=kind)

    def read_notifications(self, ids: Sequence[int] | None = None) -> int:
        """Marks these as read, or without `ids` all; how many were unread."""
        body = given(ids=None if ids is None else list(ids))
        return int(self.http.call("POST", self.path("notifications", "read"), json=body)["marked"])

    def get_notification_choices(self) -> list[NotificationChoice]:
        """Where each kind of notice reaches you."""
        answer = self.http.call("GET", self.path("notification-choices"))
        return [NotificationChoice.from_json(each) for each in answer["results"]]

    def set_notification_choice(
        self, kind: str, inbox: bool | None = None, email: bool | None = None
    ) -> list[NotificationChoice]:
        """Chooses where one kind reaches you, in all projects; None leaves one as it is."""
        body = {"kind": kind, **given(inbox=inbox, email=email)}
        answer = self.http.call("PATCH", self.path("notification-choices"), json=body)
        return [NotificationChoice.from_json(each) for each in answer["results"]]
