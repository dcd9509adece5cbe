"""How traffic moves between revisions: canaries step by step, back again, and copies to a shadow."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require, system_actor
from common.errors import Conflict
from deployments import revisions
from deployments.choices import RevisionState, Wanted
from deployments.judging import broken_limit
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import find_deployment, find_revision, in_canary
from deployments.revisions import change_revision, facts, lock_deployment, retire, settle
from deployments.wanting import (
    changed,
    lack_known_now,
    lock_deployable,
    must_run,
    next_revision,
    same_revision,
    want,
    wanted_revision,
)
from deployments.wishes import BAKE_SECONDS, wish_of
from registry.models import ModelVersion
from registry.queries import version_among


def advance(plan: Deployment) -> bool:
    """Judges the canary of an endpoint as it was read; whether all traffic moved just now.

    It is rolled back when it breaks a limit, and goes a step on when it has baked long enough.
    """
    seen = wanted_revision(plan)
    broken = broken_limit(plan, seen)
    baked = seen.step_at is not None and timezone.now() - seen.step_at >= timedelta(
        seconds=seen.rollout.get("bake_seconds", BAKE_SECONDS)
    )
    if not (broken or (baked and seen.state == RevisionState.ACTIVE)):
        return False
    with transaction.atomic():
        deployment = revisions.lock_as_planned(plan)
        if deployment is None or not in_canary(deployment):
            return False
        revision = wanted_revision(deployment)
        if revision.rollout_step != seen.rollout_step:
            return False
        if broken:
            revisions.fail(system_actor(), deployment, revision, broken)
            return False
        if revision.rollout_step + 1 < len(revision.rollout.get("steps", [])):
            revisions.step(deployment, revision, revision.rollout_step + 1)
            return False
        revisions.take_over(system_actor(), deployment, revision)
    return True


def promote_rollout(*, actor: Actor, project: Project, endpoint_name: str) -> Deployment:
    """All requests go to the canary now, without the steps that are left."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        deployment = _lock_canary(project, endpoint_name)
        revision = wanted_revision(deployment)
        if revision.state != RevisionState.ACTIVE:
            raise Conflict(
                f"Version {revision.version.number} does not answer now: {revision.reason}",
                "Wait until it answers, or abort the rollout.",
                code="not_healthy",
            )
        before = facts(deployment.serving_revision)
        revisions.tell(deployment, f"{actor.user.username} promoted the canary.", revision)
        revisions.take_over(actor, deployment, revision)
        changed(actor, "promote_rollout", deployment, before=before, after=facts(revision))
    return find_deployment(project, endpoint_name)


def abort_rollout(*, actor: Actor, project: Project, endpoint_name: str) -> Deployment:
    """What is on its way is given up, and what serves goes on. An alias that was followed is followed no more."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        deployment = lock_deployment(find_deployment(project, endpoint_name).pk)
        coming, serving = wanted_revision(deployment), deployment.serving_revision
        if serving is None or serving.pk == coming.pk or deployment.wanted != Wanted.RUNNING:
            raise _no_rollout(endpoint_name)
        retire(coming)
        settle(
            deployment,
            f"{actor.user.username} aborted the change to version {coming.version.number}{_unfollowed(deployment)}.",
            coming,
            wanted_revision=serving,
            canary_percent=0,
            follows="",
            warnings=serving.warnings,
        )
        revisions.use_next_rollout(deployment)
        changed(actor, "abort_rollout", deployment, before=facts(coming), after=facts(serving))
    return find_deployment(project, endpoint_name)


def rollback_deployment(
    *, actor: Actor, project: Project, endpoint_name: str, revision: int | None = None
) -> Deployment:
    """Goes back, at once, to an earlier revision: the one given, or the last that served before.

    While a change is on its way, going back without a revision aborts it. An alias that was followed is
    followed no more, as it would undo this.
    """
    require(actor, project, Right.WRITE)
    found = find_deployment(project, endpoint_name)
    current, serving = wanted_revision(found), found.serving_revision
    if revision is None and serving and serving.pk != current.pk:
        return abort_rollout(actor=actor, project=project, endpoint_name=endpoint_name)
    target = _earlier(found, current) if revision is None else find_revision(found, revision)
    if target.pk == current.pk:
        raise Conflict(
            f"Revision {target.number} is the current one of {endpoint_name}.",
            "Choose an earlier one.",
            code="revision_is_current",
        )
    lack = lack_known_now(found.engine, target.gpu_type)
    with transaction.atomic():
        locked = lock_deployable(target.version_id)
        deployment = lock_deployment(found.pk)
        same_revision(deployment, current)
        must_run(deployment)
        rollout = deployment.rollout
        said = (
            f"{actor.user.username} rolled back to revision {target.number}, version {locked.number}"
            f"{_unfollowed(deployment)}"
        )
        new = want(
            actor,
            "rollback_deployment",
            deployment,
            locked,
            wish_of(target),
            lack=lack,
            said=said,
            follows="",
        )
        # Back is at once, past all steps; the next change goes by them again.
        change_revision(new, rollout=rollout, rollout_step=len(rollout.get("steps", [])))
    return find_deployment(project, endpoint_name)


def _earlier(deployment: Deployment, current: DeploymentRevision) -> DeploymentRevision:
    """The last revision before the current one that served something else."""
    rows = deployment.revisions.select_related("version").filter(number__lt=current.number, is_shadow=False)
    served = rows.exclude(active_at=None).exclude(state=RevisionState.FAILED)
    for earlier in served.order_by("-number")[:100]:
        if (earlier.version_id, wish_of(earlier)) != (current.version_id, wish_of(current)):
            return earlier
    raise Conflict(
        f"{deployment.endpoint_name} has no earlier revision that served.",
        "Deploy the version that you want.",
        code="no_earlier_revision",
    )


def set_shadow(*, actor: Actor, project: Project, endpoint_name: str, version: str | int) -> Deployment:
    """A version gets copies of all requests; its answers are compared with those given, and never given."""
    require(actor, project, Right.WRITE)
    found = find_deployment(project, endpoint_name)
    target = version_among(ModelVersion.objects.all(), found.model, version)
    with transaction.atomic():
        locked = lock_deployable(target.pk)
        deployment = lock_deployment(found.pk)
        must_run(deployment)
        if not locked.servable:
            raise Conflict(
                locked.servable_reason, "Choose a version that can be served.", code="not_servable"
            )
        if deployment.shadow_revision:
            retire(deployment.shadow_revision)
        wish = wish_of(wanted_revision(deployment))
        serving = deployment.serving_revision
        sleeps = serving is not None and serving.state == RevisionState.ASLEEP
        begins = {"state": RevisionState.ASLEEP, "replicas": 0} if sleeps else {}
        shadow = next_revision(actor, deployment, locked, wish, is_shadow=True, **begins)
        change_revision(shadow, rollout={})
        said = f"{actor.user.username} asked for copies of the requests to version {locked.number}"
        settle(deployment, f"{said} (revision {shadow.number}).", shadow, shadow_revision=shadow)
        changed(actor, "set_shadow", deployment, after=facts(shadow))
    return find_deployment(project, endpoint_name)


def unset_shadow(*, actor: Actor, project: Project, endpoint_name: str) -> Deployment:
    """No version gets copies any more; what was counted stays."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        deployment = lock_deployment(find_deployment(project, endpoint_name).pk)
        shadow = deployment.shadow_revision
        if shadow is None:
            raise Conflict(f"{endpoint_name} has no shadow.", code="no_shadow")
        retire(shadow)
        said = f"{actor.user.username} ended the copies to version {shadow.version.number}."
        settle(deployment, said, shadow, shadow_revision=None)
        changed(actor, "unset_shadow", deployment, before=facts(shadow))
    return find_deployment(project, endpoint_name)


def _lock_canary(project: Project, endpoint_name: str) -> Deployment:
    deployment = lock_deployment(find_deployment(project, endpoint_name).pk)
    if deployment.wanted != Wanted.RUNNING or not in_canary(deployment):
        raise _no_rollout(endpoint_name)
    return deployment


def _no_rollout(endpoint_name: str) -> Conflict:
    return Conflict(f"{endpoint_name} has no change on its way.", "Look at it again.", code="no_rollout")


def _unfollowed(deployment: Deployment) -> str:
    return f"; {deployment.follows} is followed no more" if deployment.follows else ""
