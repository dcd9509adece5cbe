"""Commands on webhooks."""

from __future__ import annotations

import click

from podstack.cli.door import Door, Noun, limited, pass_door, unasked
from podstack.cli.output import Columns

COLUMNS: Columns = {
    "ID": "id",
    "NAME": "name",
    "URL": "url",
    "EVENTS": lambda row: ", ".join(row.events) or "all",
    "FORMAT": "format",
    "ON": "is_active",
}
DELIVERIES: Columns = {
    "MESSAGE": "message_id",
    "EVENT": "event",
    "STATE": "state",
    "ATTEMPTS": "attempts",
    "STATUS": "status",
    "TRIED": "tried_at",
    "ERROR": "error",
}
FORMATS = click.Choice(["standard", "slack", "teams", "discord"])
evented = click.option(
    "--event", "events", multiple=True, help="Such as version.transition_stage or approval.*."
)


@click.group(cls=Noun)
def webhooks() -> None:
    """Addresses that are told of what happens; for maintainers."""


@webhooks.command("list")
@limited
@pass_door
def list_webhooks(door: Door, limit: int | None) -> None:
    """List webhooks."""
    door.show_all(door.client.list_webhooks(), COLUMNS, "webhooks", limit)


@webhooks.command("show")
@click.argument("webhook_id", metavar="ID")
@pass_door
def show(door: Door, webhook_id: str) -> None:
    """Show a webhook."""
    door.show(door.client.get_webhook(webhook_id))


@webhooks.command("create")
@click.argument("name")
@click.argument("url")
@evented
@click.option("--format", "form", type=FORMATS, default="standard", show_default=True)
@pass_door
def create(door: Door, name: str, url: str, events: tuple[str, ...], form: str) -> None:
    """Have URL told of what happens; its secret is shown this once."""
    door.show(door.client.create_webhook(name, url, events, form))


@webhooks.command("update")
@click.argument("webhook_id", metavar="ID")
@click.option("--name")
@click.option("--url")
@evented
@click.option("--format", "form", type=FORMATS)
@click.option("--on/--off", "is_active", default=None)
@pass_door
def update(
    door: Door,
    webhook_id: str,
    name: str | None,
    url: str | None,
    events: tuple[str, ...],
    form: str | None,
    is_active: bool | None,
) -> None:
    """Change what is given, or switch it on or off."""
    found = door.client.update_webhook(
        webhook_id, name=name, url=url, events=events or None, format=form, is_active=is_active
    )
    door.show(found)


@webhooks.command("delete")
@click.argument("webhook_id", metavar="ID")
@unasked
@pass_door
def delete(door: Door, webhook_id: str, yes: bool) -> None:
    """Remove a webhook with its deliveries."""
    door.ask_first(yes, f"Remove the webhook {webhook_id}?")
    door.client.delete_webhook(webhook_id)
    door.done(f"{webhook_id} is removed.")


@webhooks.command("ping")
@click.argument("webhook_id", metavar="ID")
@pass_door
def ping(door: Door, webhook_id: str) -> None:
    """Send it an event to try it out."""
    door.show(door.client.ping_webhook(webhook_id))


@webhooks.command("deliveries")
@click.argument("webhook_id", metavar="ID")
@click.option("--state", help="Waiting, Delivered or Failed.")
@limited
@pass_door
def deliveries(door: Door, webhook_id: str, state: str | None, limit: int | None) -> None:
    """List what it was told, the newest first."""
    door.show_all(door.client.list_webhook_deliveries(webhook_id, state), DELIVERIES, "deliveries", limit)


@webhooks.command("redeliver")
@click.argument("webhook_id", metavar="ID")
@click.argument("message_id", metavar="MESSAGE")
@pass_door
def redeliver(door: Door, webhook_id: str, message_id: str) -> None:
    """Send one once more, under the same id."""
    door.show(door.client.redeliver(webhook_id, message_id))
