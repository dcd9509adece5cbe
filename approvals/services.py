"""The one verb that moves a stage."""

from __future__ import annotations

from django.db import transaction

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from common.checks import check_text, shorten
from common.errors import Conflict, Invalid
from registry import stages
from registry.choices import Protected, Stage, VersionStatus
from registry.locks import lock_named_version
from registry.models import StageTransition
from registry.protections import require_move

NOTE_LENGTH = 5000


def transition_stage(
    *, actor: Actor, project: Project, model_name: str, ref: str | int, stage: str, note: str = ""
) -> StageTransition:
    """Moves a version to another stage, at once; of two who ask at once for the same, one gets a Conflict."""
    require(actor, project, Right.WRITE)
    target = _check_stage(stage)
    check_text("note", note, max_length=NOTE_LENGTH)
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        if version.stage == target:
            raise Conflict(
                f"Version {version.number} of {model_name} is in {target} already.", code="stage_unchanged"
            )
        require_move(actor, version.model, Protected.STAGE, [version.stage, target])
        if target in (Stage.STAGING, Stage.PRODUCTION) and version.status != VersionStatus.READY:
            raise Conflict(
                f"Version {version.number} is {version.status} and cannot move to {target}: {_why(version.status)}",
                version.status_reason,
                code="version_not_ready",
            )
        return stages.move(actor=actor, version=version, stage=target, note=note)


def _check_stage(stage: object) -> Stage:
    for known in Stage:
        if isinstance(stage, str) and stage.lower() == known.value.lower():
            return known
    raise Invalid.field("stage", f"stage is {shorten(stage)}; it must be one of {', '.join(Stage.values)}.")


def _why(status: str) -> str:
    if status == VersionStatus.PENDING:
        return "a worker is still looking at its files. Try again in a few seconds."
    return "its files look dangerous. A maintainer can release it with a note."
