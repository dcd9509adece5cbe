"""The bare stage change. Only `approvals.services` imports this: there is no other way to move a stage."""

from __future__ import annotations

from django.utils import timezone

from accounts.audit import record
from accounts.permissions import Actor
from registry.choices import Stage
from registry.models import ModelVersion, RegisteredModel, StageTransition


def move(*, actor: Actor, version: ModelVersion, stage: Stage, note: str) -> StageTransition:
    """Moves a locked version to `stage`, with its history and audit rows; the caller holds the transaction."""
    now = timezone.now()
    origin = version.stage
    version.stage, version.updated_at = stage, now
    version.save(update_fields=["stage", "updated_at"])
    RegisteredModel.objects.filter(pk=version.model_id).update(updated_at=now)
    record(
        actor,
        "transition_stage",
        "version",
        f"{version.model.name}/{version.number}",
        project=version.model.project,
        before={"stage": origin},
        after={"stage": stage, "note": note},
    )
    return StageTransition.objects.create(
        version=version, from_stage=origin, to_stage=stage, note=note, actor=actor.user, door=actor.door
    )
