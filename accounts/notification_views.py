"""The inbox, and where notices reach a person."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

from accounts import notifications
from accounts.choices import Notice
from accounts.portal import ProjectPage
from common.errors import Missing


class Inbox(ProjectPage):
    """What the person was told in this project, unread ones by `?show=unread`."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        rows = notifications.inbox_of(self.person, self.project)
        unread = request.GET.get("show") == "unread"
        return self.show(
            "accounts/inbox.html",
            page=self.page_of(rows.filter(read_at=None) if unread else rows),
            unread=unread,
        )

    def post(self, request: HttpRequest, project: str) -> HttpResponseBase:
        marked = notifications.mark_read(actor=self.actor, project=self.project)
        messages.success(request, f"{marked} marked as read." if marked else "Nothing was unread.")
        return redirect(request.path)


class OpenNotification(ProjectPage):
    """Marks one as read and goes to what it tells of."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, project: str, notification_id: int) -> HttpResponseBase:
        found = notifications.inbox_of(self.person, self.project).filter(pk=notification_id).first()
        if found is None:
            raise Missing("There is no such notification.")
        notifications.mark_read(actor=self.actor, project=self.project, ids=[found.pk])
        return redirect(found.path)


class NotificationChoices(ProjectPage):
    """Which kinds reach the person in the inbox and by e-mail."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        return self.show("accounts/notification_choices.html", choices=notifications.choices_of(self.person))

    def post(self, request: HttpRequest, project: str) -> HttpResponseBase:
        for kind in Notice.values:
            notifications.set_notification_choice(
                actor=self.actor,
                project=self.project,
                kind=kind,
                inbox=f"{kind}-inbox" in request.POST,
                email=f"{kind}-email" in request.POST,
            )
        messages.success(request, "Your choice is saved.")
        return redirect(request.path)
