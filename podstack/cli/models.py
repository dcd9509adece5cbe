"""Commands on registered models."""

from __future__ import annotations

from typing import Any

import click

from podstack.cli.door import Door, Noun, ask, limited, pass_door
from podstack.cli.output import Columns
from podstack.cli.words import STAGES
from podstack.client import MLOpsClient
from podstack.models import VersionRef


def _number(ref: VersionRef | None) -> str:
    return "" if ref is None else str(ref.version)


COLUMNS: Columns = {
    "NAME": "name",
    "VERSIONS": "version_count",
    "LATEST": lambda model: _number(model.latest_version),
    "PRODUCTION": lambda model: _number(model.production_version),
    "ALIASES": "aliases",
    "TAGS": "tags",
    "UPDATED": "updated_at",
}


STANDING: Columns = {
    "STAGE OR ALIAS": "name",
    "VERSION": lambda row: row["row"].version,
    "SINCE": lambda row: row["row"].since,
    "BY": lambda row: row["row"].by,
    "DOOR": lambda row: row["row"].door,
}


@click.group(cls=Noun)
def models() -> None:
    """Registered models."""


@models.command("list")
@click.option("--search", metavar="TEXT", help="Text in name or description.")
@click.option("--stage", type=STAGES, help="Those with a version in this stage.")
@click.option("--tag", "tags", multiple=True, help="With this tag; repeated: with all of them.")
@click.option("--any-tag", "any_tags", multiple=True, help="With this tag; repeated: with one of them.")
@click.option("--alias", help="With this alias.")
@click.option("--author", metavar="USER", help="Those that this user registered.")
@click.option("--live-endpoint/--no-live-endpoint", default=None, help="With a live endpoint, or without.")
@click.option("--created-after", metavar="TIME", help="2026-03-01, or with a time: 2026-03-01T14:00Z.")
@click.option("--created-before", metavar="TIME", help="The same for the end.")
@click.option("--filter", metavar="FILTER", help="An expression: \"tag = 'nlp' and stage = 'Production'\".")
@click.option("--order-by", metavar="FIELD", help="name, created_at, updated_at, version_count; -FIELD.")
@limited
@pass_door
def list_models(door: Door, /, limit: int | None, **wanted: Any) -> None:
    """List models."""
    door.show_all(door.client.list_models(**wanted), COLUMNS, "models", limit)


@models.command("show")
@click.argument("name")
@pass_door
def show_model(door: Door, name: str) -> None:
    """Show a model."""
    door.show(door.client.get_model(name))


@models.command("standing")
@click.argument("name")
@click.option("--as-of", metavar="TIME", help="2026-03-01, or with a time: 2026-03-01T14:00Z; else now.")
@pass_door
def show_standing(door: Door, name: str, as_of: str | None) -> None:
    """Show which versions stood in which stage, and where aliases pointed, at a moment."""
    standing = door.client.get_model_standing(name, as_of)
    if door.wants_json:
        door.show(standing)
        return
    rows = [{"name": each.stage, "row": each} for each in standing.stages]
    rows += [{"name": f"@{each.alias}", "row": each} for each in standing.aliases]
    door.show_all(rows, STANDING, "stages and aliases")


@models.command("register")
@click.argument("name")
@click.option("--description", default="")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@pass_door
def register_model(door: Door, name: str, description: str, tags: tuple[str, ...]) -> None:
    """Register a model, without versions yet."""
    door.show(door.client.register_model(name, description, tags))


@models.command("update")
@click.argument("name")
@click.option("--description")
@click.option("--tag", "tags", multiple=True, help="All tags that it is to have; may be repeated.")
@click.option("--no-tags", is_flag=True, help="Remove all tags.")
@pass_door
def update_model(
    door: Door, name: str, description: str | None, tags: tuple[str, ...], no_tags: bool
) -> None:
    """Change what is given and leave the rest."""
    door.show(door.client.update_model(name, description, tags if tags or no_tags else None))


@models.command("delete")
@click.argument("name")
@click.option(
    "--confirm", "confirmed", metavar="NAME", help="The model's name again, instead of being asked."
)
@click.option("--yes", is_flag=True, help="Do not ask. A version in Production still needs --confirm NAME.")
@pass_door
def delete_model(door: Door, name: str, confirmed: str | None, yes: bool) -> None:
    """Delete a model with all its versions; maintainers can bring it back from the trash."""
    if confirmed is None and not yes:
        question = f"{_what_goes(door.client, name)}\nType the model's name to delete it"
        confirmed = ask(question, f"--confirm {name}")
        if confirmed != name:
            door.decline()
    door.client.delete_model(name, confirm=confirmed)
    door.done(f"Deleted {name}.")


@models.command("rollback")
@click.argument("name")
@click.option("--note", default="", help="Why.")
@click.option("--bypass-reason", default="", help="Move at once where a policy lets maintainers do so.")
@pass_door
def rollback(door: Door, name: str, note: str, bypass_reason: str) -> None:
    """Give Production back to the version that stood there before, by the same policy."""
    door.show(door.client.rollback_model(name, note, bypass_reason))


@models.command("restore")
@click.argument("name")
@click.option("--as", "as_name", metavar="NAME", help="A new name, where the old one is taken.")
@pass_door
def restore_model(door: Door, name: str, as_name: str | None) -> None:
    """Bring a deleted model back from the trash; for maintainers."""
    door.show(door.client.restore_model(name, as_name))


def _what_goes(client: MLOpsClient, name: str) -> str:
    model = client.get_model(name)
    count = model.version_count
    parts = [f"{count} version{'' if count == 1 else 's'}"]
    if model.production_version is not None:
        parts.append(f"version {model.production_version.version} in Production")
    if model.aliases:
        parts.append("aliases " + ", ".join(sorted(model.aliases)))
    if model.live_endpoints:
        parts.append("live endpoints " + ", ".join(model.live_endpoints))
    return f"This deletes {model.name}: {', '.join(parts)}."
