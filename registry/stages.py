"""The bare stage change. Only `approvals.services` imports this: there is no other way to move a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils import timezone

from accounts.audit import record
from accounts.permissions import Actor
from common import sql
from registry.choices import Stage
from registry.models import ModelVersion, StageTransition


@dataclass(frozen=True)
class Warrant:
    """What let a move pass its policy; empty where no policy covered it."""

    approval: str = ""
    approved_by: Sequence[str] = field(default_factory=list)
    evidence: str = ""
    bypass_reason: str = ""


NO_POLICY = Warrant()


def move(
    *,
    actor: Actor,
    version: ModelVersion,
    stage: Stage,
    note: str,
    is_sole: bool = False,
    warrant: Warrant = NO_POLICY,
) -> StageTransition:
    """Moves a locked version to `stage`, with its history and audit rows; the caller holds the transaction.

    `is_sole`: whether the model may have one version in Production at most.
    """
    origin, now = version.stage, timezone.now()
    moved = StageTransition(
        version=version,
        from_stage=origin,
        to_stage=stage,
        note=note,
        actor=actor.user,
        door=actor.door,
        approval=warrant.approval,
        approved_by=list(warrant.approved_by),
        evidence=warrant.evidence,
        bypass_reason=warrant.bypass_reason,
    )
    after: dict[str, object] = {"stage": stage, "note": note}
    if warrant.approval:
        after |= {"approval": warrant.approval, "approved_by": list(warrant.approved_by)}
    if warrant.bypass_reason:
        after["bypass_reason"] = warrant.bypass_reason
    sole = is_sole and stage == Stage.PRODUCTION
    moved.pk, *_ = record(
        actor,
        "transition_stage",
        "version",
        f"{version.model.name}/{version.number}",
        project=version.model.project,
        before={"stage": origin},
        after=after,
        along=[
            sql.inserting(moved),
            sql.saving(version, stage=stage, is_sole=sole, updated_at=now),
            sql.saving(version.model, updated_at=now),
        ],
    )
    moved._state.adding = False
    return moved
