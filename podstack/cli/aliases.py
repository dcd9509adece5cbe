"""Commands on aliases."""

from __future__ import annotations

import click

from podstack.cli.door import Door, Noun, limited, pass_door
from podstack.cli.output import Columns
from podstack.cli.words import versioned

COLUMNS: Columns = {"ALIAS": "alias", "VERSION": "version", "UPDATED": "updated_at"}


@click.group(cls=Noun)
def aliases() -> None:
    """Names that point to versions, such as champion."""


@aliases.command("list")
@click.argument("model_name", metavar="NAME")
@limited
@pass_door
def list_aliases(door: Door, model_name: str, limit: int | None) -> None:
    """List a model's aliases."""
    door.show_all(door.client.list_model_aliases(model_name), COLUMNS, "aliases", limit)


@aliases.command("show")
@click.argument("model_name", metavar="NAME")
@click.argument("alias")
@pass_door
def show_alias(door: Door, model_name: str, alias: str) -> None:
    """Show the version that an alias points to."""
    door.show(door.client.get_model_by_alias(model_name, alias))


@aliases.command("set")
@versioned("alias")
@pass_door
def set_alias(door: Door, model_name: str, version: str, alias: str) -> None:
    """Point ALIAS to a version; it may have pointed to another."""
    door.show(door.client.set_model_alias(model_name, alias, version))


@aliases.command("rm")
@click.argument("model_name", metavar="NAME")
@click.argument("alias")
@pass_door
def remove_alias(door: Door, model_name: str, alias: str) -> None:
    """Remove an alias; the version stays."""
    door.client.delete_model_alias(model_name, alias)
    door.done(f"Removed the alias {alias} of {model_name}.")
