"""Verbs on aliases: names that point to one version of a model each."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from common import sql
from common.checks import shorten
from common.errors import Missing
from registry.choices import Protected
from registry.locks import lock_model, lock_named_version
from registry.models import Alias, AliasMove, ModelVersion, RegisteredModel
from registry.names import check_alias
from registry.protections import require_move

ALIAS = """
    SELECT {a}, {v} FROM registry_alias a JOIN registry_modelversion v ON v.id = a.version_id
    WHERE a.model_id = %s AND a.name = %s
"""
SET_ALIAS = """
    INSERT INTO registry_alias (model_id, name, version_id, updated_at) VALUES (%s, %s, %s, %s)
    ON CONFLICT (model_id, name) DO UPDATE SET version_id = EXCLUDED.version_id, updated_at = EXCLUDED.updated_at
    RETURNING id
"""


def set_alias(*, actor: Actor, project: Project, model_name: str, alias: str, version: str | int) -> Alias:
    """Points `alias` to a version, atomically, with its history; pointing where it points already changes nothing."""
    require(actor, project, Right.WRITE)
    check_alias(alias)
    with transaction.atomic():
        target = lock_named_version(project, model_name, version)
        model = target.model
        found = _alias(model, alias)
        if found is not None and found.version_id == target.pk:
            return found
        require_move(actor, model, Protected.ALIAS, [alias])
        row = Alias(model=model, name=alias, version=target, updated_at=timezone.now())
        pointed = sql.Step(SET_ALIAS, [model.pk, alias, target.pk, row.updated_at])
        write_move(actor, model, alias, found.version if found else None, target, along=[pointed])
    return row


def delete_alias(*, actor: Actor, project: Project, model_name: str, alias: str) -> None:
    """Removes an alias; its history stays."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        model = lock_model(project, model_name)
        found = None if "\0" in alias else _alias(model, alias)
        if found is None:
            raise Missing(f"{model.name} has no alias {shorten(alias)}.", code="alias_not_found")
        require_move(actor, model, Protected.ALIAS, [alias])
        found.delete()
        write_move(actor, model, alias, found.version, None)


def write_move(
    actor: Actor,
    model: RegisteredModel,
    alias: str,
    origin: ModelVersion | None,
    target: ModelVersion | None,
    along: Sequence[sql.Step] = (),
) -> None:
    """The history and audit rows of one move, written by one statement with the steps `along`; `model` is locked."""
    move = AliasMove(
        model=model, name=alias, from_version=origin, to_version=target, actor=actor.user, door=actor.door
    )
    record(
        actor,
        "set_alias" if target else "delete_alias",
        "alias",
        f"{model.name}@{alias}",
        project=model.project,
        before={"version": origin.number if origin else None},
        after={"version": target.number if target else None},
        along=[*along, sql.inserting(move), sql.saving(model, updated_at=timezone.now())],
    )


def _alias(model: RegisteredModel, name: str) -> Alias | None:
    found = sql.row(sql.expand(ALIAS, a=Alias, v=ModelVersion), [model.pk, name])
    if found is None:
        return None
    alias = sql.instance(Alias, found[: sql.width(Alias)])
    alias.version = sql.instance(ModelVersion, found[sql.width(Alias) :])
    return alias
