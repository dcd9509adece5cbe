"""The same act on many models or versions: one call, each item done or refused by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from approvals.models import ApprovalRequest
from approvals.services import transition_stage
from common.checks import shorten
from common.errors import DomainError, Invalid
from registry import aliases, services, trash

MOST_ITEMS = 500
Act = Callable[..., object]


@dataclass(frozen=True)
class Action:
    """A verb, what it calls the model and the version, and the other words that it takes: {name: must be there}."""

    verb: Act
    model: str = "model_name"
    version: str | None = "ref"
    words: Mapping[str, bool] | None = None


ACTIONS: dict[str, Action] = {
    "transition_stage": Action(
        transition_stage,
        words={"stage": True, "note": False, "archive_previous": False, "bypass_reason": False},
    ),
    "set_alias": Action(aliases.set_alias, version="version", words={"alias": True}),
    "delete_alias": Action(aliases.delete_alias, version=None, words={"alias": True}),
    "set_version_tag": Action(services.set_version_tag, words={"key": True, "value": True}),
    "delete_version_tag": Action(services.delete_version_tag, words={"key": True}),
    "update_version": Action(services.update_version, words={"description": True}),
    "release_version": Action(services.release_version, words={"note": True}),
    "delete_version": Action(trash.delete_version),
    "restore_version": Action(trash.restore_version, version="number"),
    "update_model": Action(services.update_model, "name", None, {"description": False, "tags": False}),
    "delete_model": Action(trash.delete_model, "name", None, {"confirm": False}),
    "restore_model": Action(trash.restore_model, "name", None, {"as_name": False}),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one item: done, or the refusal; `approval` is the id of the request that it waits for."""

    model_name: str
    version: str | int | None
    error: DomainError | None
    approval: str | None = None


def bulk(
    *, actor: Actor, project: Project, action: str, items: Sequence[Mapping[str, Any]], **common: Any
) -> list[Outcome]:
    """Does `action` to each of at most 500 items, in their order; a refused one holds no other back.

    An item names `model_name`, `version` where the action is about one, and may say for itself what `common` says
    for all: the words of the action, such as stage and note.
    """
    require(actor, project, Right.WRITE)
    known = ACTIONS.get(action)
    if known is None:
        raise Invalid.field("action", f"action is {shorten(action)}; it must be one of {', '.join(ACTIONS)}.")
    if not 1 <= len(items) <= MOST_ITEMS:
        raise Invalid.field("items", f"items has {len(items)} entries; 1 to {MOST_ITEMS} are allowed.")
    asked = [_arguments(known, index, {**common, **item}) for index, item in enumerate(items)]
    return [_done(known, actor, project, arguments) for arguments in asked]


def _arguments(action: Action, index: int, item: Mapping[str, Any]) -> dict[str, Any]:
    """The verb's arguments; Invalid names what is missing or unknown, before anything is done."""
    words = {"model_name": True, **(action.words or {})}
    if action.version is not None:
        words["version"] = True
    for name in item:
        if name not in words:
            raise Invalid.field(f"items.{index}.{name}"[:120], f"{shorten(name)} is no word of this action.")
    for name, needed in words.items():
        if needed and name not in item:
            raise Invalid.field(f"items.{index}.{name}", f"items.{index} lacks {name}.")
    names = {"model_name": action.model, "version": action.version or ""}
    return {names.get(name, name): value for name, value in item.items()}


def _done(action: Action, actor: Actor, project: Project, arguments: dict[str, Any]) -> Outcome:
    name, version = arguments[action.model], arguments.get(action.version or "")
    try:
        with transaction.atomic():
            done = action.verb(actor=actor, project=project, **arguments)
    except DomainError as error:
        return Outcome(name, version, error)
    return Outcome(name, version, None, done.public_id if isinstance(done, ApprovalRequest) else None)
