"""Commands on what you are told."""

from __future__ import annotations

import click

from podstack.cli.door import Door, Noun, limited, pass_door
from podstack.cli.output import Columns

COLUMNS: Columns = {"ID": "id", "AT": "created_at", "WHAT": "text", "READ": "read_at"}
CHOICES: Columns = {"KIND": "kind", "WHEN": "label", "INBOX": "inbox", "EMAIL": "email"}


@click.group(cls=Noun)
def notifications() -> None:
    """What you were told, and where it reaches you."""


@notifications.command("list")
@click.option("--unread/--read", default=None, help="Only unread ones, or only the others.")
@click.option("--kind", help="Of one kind; see `notifications choices`.")
@limited
@pass_door
def list_notifications(door: Door, unread: bool | None, kind: str | None, limit: int | None) -> None:
    """List what you were told in this project, the newest first."""
    door.show_all(door.client.list_notifications(unread, kind), COLUMNS, "notifications", limit)


@notifications.command("read")
@click.argument("ids", nargs=-1, type=int, metavar="[ID]…")
@pass_door
def read(door: Door, ids: tuple[int, ...]) -> None:
    """Mark these as read, or all."""
    door.done(f"{door.client.read_notifications(ids or None)} marked as read.")


@notifications.command("choices")
@pass_door
def choices(door: Door) -> None:
    """Where each kind reaches you."""
    door.show_all(iter(door.client.get_notification_choices()), CHOICES, "kinds", None)


@notifications.command("choose")
@click.argument("kind")
@click.option("--inbox/--no-inbox", default=None, help="In the portal's inbox.")
@click.option("--email/--no-email", default=None, help="By e-mail.")
@pass_door
def choose(door: Door, kind: str, inbox: bool | None, email: bool | None) -> None:
    """Choose where one KIND reaches you, in all projects."""
    found = door.client.set_notification_choice(kind, inbox, email)
    door.show_all(iter(found), CHOICES, "kinds", None)
