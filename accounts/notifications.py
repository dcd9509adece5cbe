"""Telling people: rows in the transaction of what they tell, e-mail by a worker once it is committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.choices import MAILED, Notice, Right
from accounts.models import Membership, Notification, NotificationChoice, Project, User
from accounts.permissions import Actor, require
from common.checks import shorten
from common.errors import Invalid
from common.jobs import enqueue

TEXT_LENGTH = 500
MOST_READ_AT_ONCE = 1000


@dataclass(frozen=True)
class Choice:
    """Where one kind of notice reaches a person."""

    kind: str
    label: str
    inbox: bool
    email: bool


def notify(users: Iterable[User], kind: Notice, text: str, *, project: Project, path: str) -> None:
    """Tells these people, each once, as far as they are members and want to know; called in a verb's transaction."""
    wanted = {user.pk for user in users}
    members = Membership.objects.filter(project=project, user__in=wanted, user__is_active=True)
    people = {each.user_id: each.user for each in members.select_related("user").order_by("user_id")}
    choices = {
        choice.user_id: choice for choice in NotificationChoice.objects.filter(user__in=people, kind=kind)
    }
    rows = [
        Notification(
            user=user,
            project=project,
            kind=kind,
            text=text[:TEXT_LENGTH],
            path=path,
            in_inbox=choices[pk].inbox if pk in choices else True,
        )
        for pk, user in people.items()
    ]
    for row in Notification.objects.bulk_create(rows):
        mailed = choices[row.user_id].email if row.user_id in choices else kind in MAILED
        if mailed and row.user.email:
            enqueue("accounts.mail_notification", notification_id=row.pk)


def mail_notification(notification_id: int) -> None:
    """Sends it once; sent again by a worker that died in between, it has the same Message-ID."""
    row = Notification.objects.select_related("user", "project").filter(pk=notification_id).first()
    if row is None or row.mailed_at is not None or not row.user.email:
        return
    base = settings.PUBLIC_URL.rstrip("/")
    host = urlsplit(base).hostname or "localhost"
    choose = f"{base}/projects/{row.project.slug}/notifications/choices/"
    EmailMessage(
        subject=" ".join(row.text.split())[:150],
        body=f"{row.text}\n\n{base}{row.path}\n\nChoose what reaches you: {choose}\n",
        to=[row.user.email],
        headers={"Message-ID": f"<notification-{row.pk}@{host}>", "Auto-Submitted": "auto-generated"},
    ).send()
    Notification.objects.filter(pk=row.pk).update(mailed_at=timezone.now())


def inbox_of(user: User, project: Project) -> QuerySet[Notification]:
    """What the person was told in the project, the newest first."""
    return Notification.objects.filter(user=user, project=project, in_inbox=True).order_by("-id")


def mark_read(*, actor: Actor, project: Project, ids: Sequence[int] | None = None) -> int:
    """Marks these of the actor's own as read, or without `ids` all; how many that were."""
    require(actor, project, Right.REVIEW)
    if ids is not None and len(ids) > MOST_READ_AT_ONCE:
        raise Invalid.field(
            "ids",
            f"ids has {len(ids)} entries; at most {MOST_READ_AT_ONCE} are allowed.",
            "Leave it out for all.",
        )
    rows = inbox_of(actor.user, project).filter(read_at=None)
    if ids is not None:
        rows = rows.filter(pk__in=list(ids))
    return rows.update(read_at=timezone.now())


def choices_of(user: User) -> list[Choice]:
    """What reaches the person where, for each kind."""
    chosen = {choice.kind: choice for choice in NotificationChoice.objects.filter(user=user)}
    return [
        Choice(
            kind.value,
            str(kind.label),
            chosen[kind].inbox if kind in chosen else True,
            chosen[kind].email if kind in chosen else kind in MAILED,
        )
        for kind in Notice
    ]


def set_notification_choice(
    *, actor: Actor, project: Project, kind: str, inbox: bool | None = None, email: bool | None = None
) -> list[Choice]:
    """Chooses where one kind reaches the actor, in all projects; None leaves one as it is."""
    require(actor, project, Right.REVIEW)
    now = next((choice for choice in choices_of(actor.user) if choice.kind == kind), None)
    if now is None:
        known = ", ".join(Notice.values)
        raise Invalid.field("kind", f"kind is {shorten(kind)}; it must be one of {known}.")
    wanted = {
        "inbox": now.inbox if inbox is None else inbox,
        "email": now.email if email is None else email,
    }
    with transaction.atomic():
        NotificationChoice.objects.update_or_create(user=actor.user, kind=kind, defaults=wanted)
    return choices_of(actor.user)
