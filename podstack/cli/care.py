"""Commands that keep a registry in order: the trash and protections."""

from __future__ import annotations

import click

from podstack.care import USUAL_ROLES
from podstack.cli.door import Door, F, Noun, limited, pass_door
from podstack.cli.output import Columns
from podstack.cli.words import STAGES

TRASH: Columns = {
    "MODEL": "model_name",
    "VERSION": "version",
    "VERSIONS": "version_count",
    "DELETED BY": "deleted_by",
    "DELETED": "deleted_at",
    "UNTIL": "permanent_at",
}
PROTECTIONS: Columns = {
    "ID": "id",
    "KIND": "kind",
    "NAME": "name",
    "MODEL": lambda row: row.model_name or "all",
    "ROLES": "roles",
    "GROUPS": "groups",
    "CREATED BY": "created_by",
}


@click.group(cls=Noun)
def trash() -> None:
    """What was deleted and can come back; for maintainers."""


@trash.command("list")
@limited
@pass_door
def list_trash(door: Door, limit: int | None) -> None:
    """List deleted models and versions; `models restore` and `versions restore` bring them back."""
    door.show_all(door.client.list_trash(), TRASH, "deleted models and versions", limit)


@click.group(cls=Noun)
def protections() -> None:
    """Who alone may move an alias or a stage."""


def protected(command: F) -> F:
    """The options that say where and by whom."""
    command = click.option("--group", "groups", multiple=True, help="A group that may; may be repeated.")(
        command
    )
    role = click.option("--role", "roles", multiple=True, help="A role that may; else maintainer and admin.")
    return click.option("--model", "model_name", metavar="NAME", help="Of one model; else of all.")(
        role(command)
    )


@protections.command("list")
@limited
@pass_door
def list_protections(door: Door, limit: int | None) -> None:
    """List protected aliases and stages."""
    door.show_all(door.client.list_protections(), PROTECTIONS, "protections", limit)


@protections.command("alias")
@click.argument("alias")
@protected
@pass_door
def protect_alias(
    door: Door, alias: str, model_name: str | None, roles: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    """Let only some roles and groups move ALIAS."""
    door.show(door.client.protect_alias(alias, model_name, roles_or_usual(roles, groups), groups))


@protections.command("stage")
@click.argument("stage", type=STAGES)
@protected
@pass_door
def protect_stage(
    door: Door, stage: str, model_name: str | None, roles: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    """Let only some roles and groups move versions into STAGE and out of it."""
    door.show(door.client.protect_stage(stage, model_name, roles_or_usual(roles, groups), groups))


def roles_or_usual(roles: tuple[str, ...], groups: tuple[str, ...]) -> tuple[str, ...]:
    """The usual roles where nobody is named; with groups only, no role."""
    return roles or (() if groups else USUAL_ROLES)


@protections.command("rm")
@click.argument("protection_id", metavar="ID", type=int)
@pass_door
def remove_protection(door: Door, protection_id: int) -> None:
    """Take a protection away."""
    door.client.remove_protection(protection_id)
    door.done(f"Removed the protection {protection_id}.")
