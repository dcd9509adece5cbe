"""The bare stage change. Only `approvals.services` imports this: there is no other way to move a stage."""

from __future__ import annotations

from django.utils import timezone

from accounts.audit import record
from accounts.permissions import Actor
from common import sql
from registry.choices import Stage
from registry.models import ModelVersion, StageTransition


def move(*, actor: Actor, version: ModelVersion, stage: Stage, note: str) -> StageTransition:
    """Moves a locked version to `stage`, with its history and audit rows; the caller holds the transaction."""
    now = timezone.now()
    origin = version.stage
    sql.save(version, stage=stage, updated_at=now)
    sql.save(version.model, updated_at=now)
    record(
        actor,
        "transition_stage",
        "version",
        f"{version.model.name}/{version.number}",
        project=version.model.project,
        before={"stage": origin},
        after={"stage": stage, "note": note},
    )
    moved = StageTransition(
        version=version, from_stage=origin, to_stage=stage, note=note, actor=actor.user, door=actor.door
    )
    sql.insert(moved)
    return moved
