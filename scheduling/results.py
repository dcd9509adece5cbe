"""What becomes of a training that went well: a version of a model, and a stage for it if it is better."""

from __future__ import annotations

import math

from django.db import transaction

from accounts.permissions import Actor
from approvals.models import ApprovalRequest
from approvals.policies import policy_for
from approvals.reviewers import note_authors
from approvals.services import transition_stage
from common.directions import direction_of
from common.errors import Busy, Denied, DomainError
from common.jobs import Again
from registry.choices import MetricKind, Protected, Stage, VersionStatus
from registry.models import ModelVersion, VersionMetric
from registry.protections import require_move
from registry.services import create_version
from scheduling.executions import actor_of, answerable_for, authors_of, printable, row_of, tell_of_failure
from scheduling.models import Schedule, ScheduleExecution

LOOK_AGAIN = 1.0
LONGEST_ERROR = 2000
GAVE_UP = "workers failed on it again and again"


def register_result(execution_id: int) -> Again | None:
    """Registers what the run left at the schedule's artifact path, then promotes it where it is better."""
    version = _registered(execution_id)
    if version is None:
        return None
    with transaction.atomic():
        execution = row_of(execution_id, lock=True)
        if not execution.schedule.promote_stage or _is_decided(execution, version):
            return None
        if version.status == VersionStatus.PENDING:
            return Again(LOOK_AGAIN)
        execution.outcome = f"{_registration(version)} {_promotion(execution, version)}"
        execution.save(update_fields=["outcome"])
    return None


def give_up(execution_id: int, error: str) -> None:
    """Says what no worker could do, and tells whose schedule it is."""
    why = f"{GAVE_UP}: {printable(error)[:LONGEST_ERROR]}"
    with transaction.atomic():
        execution = row_of(execution_id, lock=True)
        version = execution.version
        if version is None:
            execution.outcome, lacking = f"No version was registered: {why}", "was not registered"
        elif execution.schedule.promote_stage and not _is_decided(execution, version):
            execution.outcome = f"{_registration(version)} It was not promoted: {why}"
            lacking = "was not promoted"
        else:
            return
        execution.save(update_fields=["outcome"])
        tell_of_failure(execution, f"What {execution.schedule.name} trained {lacking}", why)


def _registration(version: ModelVersion) -> str:
    return f"Registered as version {version.number} of {version.model.name}."


def _is_decided(execution: ScheduleExecution, version: ModelVersion) -> bool:
    """Whether a worker asked for the stage before, or said what is missing: a second one says nothing against it."""
    rest = execution.outcome.removeprefix(_registration(version))
    return rest != "" and GAVE_UP not in rest


def _registered(execution_id: int) -> ModelVersion | None:
    """The version of this execution, made now where there is none; None where it cannot be made."""
    with transaction.atomic():
        execution = row_of(execution_id, lock=True)
        schedule, run = execution.schedule, execution.run
        assert run is not None, "an execution that succeeded has a run"
        note_authors(run, authors_of(execution))  # the schedule may have been changed since it began
        if execution.version is not None:
            return execution.version
        try:
            with transaction.atomic():
                version = create_version(
                    actor=actor_of(execution),
                    project=schedule.project,
                    model_name=schedule.model_name,
                    source_run_id=run.public_id,
                    artifact_path=schedule.artifact_path,
                    description=f"Trained by the schedule {schedule.name}.",
                )
        except Busy:
            raise  # the job is tried again
        except DomainError as error:
            execution.outcome = f"No version was registered: {error.message}"
            execution.save(update_fields=["outcome"])
            return None
        execution.version = version
        execution.outcome = _registration(version)
        execution.save(update_fields=["version", "outcome"])
    return version


def _promotion(execution: ScheduleExecution, version: ModelVersion) -> str:
    """Asks for the schedule's stage where the version is better than Production's; says what was done, or missing."""
    lacking, reason = _challenge(execution.schedule, version)
    if lacking:
        return f"It was not promoted: {lacking}"
    schedule = execution.schedule
    try:
        with transaction.atomic():
            _require_all(execution, version)
            moved = transition_stage(
                actor=actor_of(execution),
                project=schedule.project,
                model_name=schedule.model_name,
                ref=version.number,
                stage=schedule.promote_stage,
                note=f"By the schedule {schedule.name}: {reason}.",
            )
    except Busy:
        raise  # the job is tried again
    except DomainError as error:
        return " ".join(["It was not promoted:", error.message, *error.items])
    if isinstance(moved, ApprovalRequest):
        return f"{schedule.promote_stage} was asked for it, and waits for approval: {reason}."
    return f"{schedule.promote_stage} was asked for it: {reason}."


def _require_all(execution: ScheduleExecution, version: ModelVersion) -> None:
    """Denied where the stages are protected against one of those whose work asks for the move."""
    target = Stage(execution.schedule.promote_stage)
    stages = [version.stage, target, *([Stage.ARCHIVED] if target == Stage.PRODUCTION else [])]
    mine = actor_of(execution)
    for person in answerable_for(execution) - {mine.user}:
        try:
            require_move(Actor(user=person, door=mine.door), version.model, Protected.STAGE, stages)
        except Denied as error:
            raise Denied(
                f"{person.username} set the schedule or uploaded its newest code. {error.message}",
                code=error.code,
            ) from error


def _challenge(schedule: Schedule, version: ModelVersion) -> tuple[str, str]:
    """(what is missing, "") or ("", why it is better than the version in Production)."""
    key = schedule.promote_metric
    if not key:
        policy = policy_for(version.model, Stage(schedule.promote_stage))
        if policy is None or not policy.checks:
            return f"{version.model.name} has no policy whose checks decide on {schedule.promote_stage}.", ""
        return "", f"the checks for {schedule.promote_stage} hold"
    own = _metric(version, key)
    if own is None or math.isnan(own):
        return f"its run logged no {key}." if own is None else f"{key} is NaN.", ""
    rows = ModelVersion.objects.filter(model=version.model_id, stage=Stage.PRODUCTION, deleted_at=None)
    champion = rows.exclude(pk=version.pk).order_by("-number").first()
    if champion is None:
        return "", f"{key} is {own:g}, and nothing is in Production"
    theirs = _metric(champion, key)
    if theirs is None or math.isnan(theirs):
        return f"version {champion.number} in Production has no {key} to compare with.", ""
    if not _is_better(key, own, theirs):
        return f"{key} is {own:g}, version {champion.number} in Production has {theirs:g}.", ""
    return "", f"{key} is {own:g}, better than {theirs:g} of version {champion.number}"


def _metric(version: ModelVersion, key: str) -> float | None:
    rows = VersionMetric.objects.filter(version=version, kind=MetricKind.TRAINING, key=key)
    return rows.values_list("value", flat=True).first()


def _is_better(key: str, own: float, other: float) -> bool:
    """Higher is better, unless the metric's name says otherwise."""
    return own < other if direction_of(key) == "lower" else own > other
