"""One act to many models or versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import click

from podstack.cli.door import Door, Verb, pass_door, unasked
from podstack.cli.errors import REFUSED
from podstack.cli.output import Columns
from podstack.cli.words import model_versions, pairs, read_json
from podstack.models import Outcome

COLUMNS: Columns = {
    "MODEL": "model_name",
    "VERSION": "version",
    "DONE": "ok",
    "ERROR": lambda outcome: (outcome.error or {}).get("detail"),
}


@click.command("bulk", cls=Verb)
@click.argument("action")
@click.argument("words", nargs=-1, metavar="[NAME|NAME/VERSION]…")
@click.option("--set", "texts", multiple=True, metavar="KEY=VALUE", help="For all of them; may be repeated.")
@click.option("--file", "file", type=click.File("rb"), help="Items as a JSON list of objects; - is stdin.")
@unasked
@pass_door
def bulk(
    door: Door, action: str, words: tuple[str, ...], texts: tuple[str, ...], file: BinaryIO | None, yes: bool
) -> None:
    """Do one act to many models or versions; a refused one holds no other back.

    ACTION is transition_stage, set_alias, delete_alias, set_version_tag, delete_version_tag, update_version,
    release_version, delete_version, restore_version, update_model, delete_model or restore_model.

    `podstack bulk transition_stage iris/1 iris/2 --set stage=Archived`
    """
    act, common = action.replace("-", "_"), pairs(texts)
    if {"action", "items"} & set(common):
        raise click.UsageError("--set takes fields of the items, not action or items.")
    items = [item_of(word) for word in words] + (items_in(file) if file is not None else [])
    if not items:
        raise click.UsageError("Name at least one model or version, or give --file.")
    if act.startswith("delete_"):
        door.ask_first(yes, f"Do {act} to {len(items)} items?")
    show(door, door.client.bulk(act, items, **common))


def item_of(word: str) -> dict[str, Any]:
    """A model or a version as an item."""
    model_name, refs = model_versions([word])
    return {"model_name": model_name, **({"version": refs[0]} if refs else {})}


def items_in(file: BinaryIO) -> list[Mapping[str, Any]]:
    """Items out of a JSON file."""
    items = read_json(file)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise click.UsageError("The items must be a JSON list of objects.")
    return items


def show(door: Door, outcomes: Sequence[Outcome]) -> None:
    """All outcomes; refused when one of them was."""
    door.show_all(outcomes, COLUMNS, "outcomes")
    refused = sum(not outcome.ok for outcome in outcomes)
    if refused:
        door.say(f"{refused} of {len(outcomes)} were refused.")
        raise click.exceptions.Exit(REFUSED)
