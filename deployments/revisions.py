"""How an endpoint's rows change: always under the endpoint's row lock, always with an event."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Notice
from accounts.notifications import notify
from accounts.permissions import Actor
from common.errors import Missing
from deployments.choices import EndpointState, RevisionState, Wanted
from deployments.models import Deployment, DeploymentEvent, DeploymentRevision
from deployments.queries import ENDED, in_canary, live_revisions, standing

TROUBLED = (EndpointState.FAILED, EndpointState.DEGRADED)
AGAIN = "It is being started again."


def lock_deployment(deployment_id: int) -> Deployment:
    """The endpoint with its revisions under its row lock; Missing when it was deleted meanwhile."""
    if not _lock(Deployment.objects.alive().filter(pk=deployment_id)):
        raise Missing("The endpoint was deleted meanwhile.", code="deployment_not_found")
    return Deployment.objects.with_details().get(pk=deployment_id)


def lock_as_planned(plan: Deployment) -> Deployment | None:
    """The endpoint under its lock, or None when something else is wanted of it since `plan` was read."""
    same = Deployment.objects.filter(
        pk=plan.pk,
        wanted=plan.wanted,
        wanted_revision=plan.wanted_revision_id,
        serving_revision=plan.serving_revision_id,
        shadow_revision=plan.shadow_revision_id,
    )
    return Deployment.objects.with_details().get(pk=plan.pk) if _lock(same) else None


def _lock(rows: QuerySet[Deployment]) -> bool:
    """Locks the row. The next statement reads it: rows joined to this one would be as old as the waiting."""
    return bool(rows.select_for_update(no_key=True).values_list("pk", flat=True))


def change_revision(revision: DeploymentRevision, **values: Any) -> None:
    """Writes these fields of a revision whose endpoint is locked."""
    for field, value in values.items():
        setattr(revision, field, value)
    revision.save(update_fields=list(values))


def settle(
    deployment: Deployment, message: str = "", revision: DeploymentRevision | None = None, **values: Any
) -> None:
    """Writes `values`, and the state and reason that follow from the revisions; tells what is new."""
    for field, value in values.items():
        setattr(deployment, field, value)
    found = standing(deployment)
    changed = (found.state, found.reason) != (deployment.state, deployment.reason)
    if not (changed or values or message):
        return
    becomes = found.state != deployment.state or bool(values.get("failing"))
    was_asked_for_now = deployment.state == EndpointState.PENDING and "wanted_revision" in values
    deployment.state, deployment.reason, deployment.updated_at = found.state, found.reason, timezone.now()
    deployment.save(update_fields=[*values, "state", "reason", "updated_at"])
    if becomes and found.state in TROUBLED and not was_asked_for_now:
        _tell_of_trouble(deployment)
    tell(deployment, message or found.reason or f"The endpoint is {found.state}.", revision)


def _tell_of_trouble(deployment: Deployment) -> None:
    wanted = deployment.wanted_revision
    notify(
        [deployment.created_by, *([wanted.created_by] if wanted else [])],
        Notice.ENDPOINT_FAILED,
        f"The endpoint {deployment.endpoint_name} is {deployment.state}: {deployment.reason[:300]}",
        project=deployment.project,
        path=reverse("deployments:detail", args=[deployment.project.slug, deployment.endpoint_name]),
    )


def complain(deployment: Deployment, problem: str) -> None:
    """The endpoint keeps its state, with a reason that its revisions do not know."""
    Deployment.objects.filter(pk=deployment.pk).update(reason=problem, updated_at=timezone.now())
    tell(deployment, problem)


def miss_engine(deployment: Deployment, problem: str) -> None:
    """The engine cannot be asked for more than a moment: nothing is known to answer."""
    for revision in live_revisions(deployment):
        change_revision(revision, ready_replicas=0)
        _same_object(deployment, revision)
    settle(deployment, f"The endpoint is Degraded. {problem}", away=problem)


def find_engine(deployment: Deployment) -> None:
    """The engine answers again."""
    settle(deployment, "Its engine answers again.", away="")


def tell(deployment: Deployment, message: str, revision: DeploymentRevision | None = None) -> None:
    """One line of the endpoint's history."""
    DeploymentEvent.objects.create(
        deployment=deployment, revision=revision, state=deployment.state, message=message
    )


def activate(
    actor: Actor, deployment: Deployment, revision: DeploymentRevision, address: str, key: str
) -> None:
    """`revision` answers at `address`: the wanted one takes the traffic, at once or step by step."""
    serving = deployment.serving_revision
    change_revision(
        revision,
        state=RevisionState.ACTIVE,
        reason="",
        address=address,
        serving_key=key,
        active_at=timezone.now(),
    )
    _same_object(deployment, revision)
    number = revision.version.number
    if revision.pk == deployment.shadow_revision_id:
        settle(deployment, f"Version {number} gets copies of the requests now.", revision)
    elif revision.pk != deployment.wanted_revision_id or (serving and serving.pk == revision.pk):
        settle(deployment, f"Version {number} answers again.", revision, wake_asked_at=None)
    elif in_canary(deployment):
        # It got nothing meanwhile: the step bakes anew.
        change_revision(revision, step_at=timezone.now())
        settle(deployment, f"Version {number} answers its share of the requests again.", revision)
    elif _has_steps(revision) and serving is not None and serving.state == RevisionState.ACTIVE:
        step(deployment, revision, 0)
    else:
        take_over(actor, deployment, revision)


def _has_steps(revision: DeploymentRevision) -> bool:
    return revision.rollout_step < len(revision.rollout.get("steps", []))


def step(deployment: Deployment, revision: DeploymentRevision, number: int) -> None:
    """The wanted revision gets the share of the requests that the step of its rollout says."""
    percent = revision.rollout["steps"][number]
    change_revision(revision, rollout_step=number, step_at=timezone.now())
    _same_object(deployment, revision)
    settle(
        deployment,
        f"Version {revision.version.number} gets {percent} % of the requests (revision {revision.number}).",
        revision,
        canary_percent=percent,
    )


def take_over(actor: Actor, deployment: Deployment, revision: DeploymentRevision) -> None:
    """All requests go to the wanted revision, and what served before retires."""
    old = deployment.serving_revision
    if old is not None:
        retire(old)
    settle(
        deployment,
        f"Version {revision.version.number} answers requests now (revision {revision.number}).",
        revision,
        serving_revision=revision,
        canary_percent=0,
        wake_asked_at=None,
        failing="",
        warnings=revision.warnings,
    )
    use_next_rollout(deployment)
    _record(actor, "activate_revision", deployment, old, revision)


def warn(deployment: Deployment, revision: DeploymentRevision, sentence: str) -> None:
    """`revision` runs otherwise than asked for; so does the endpoint."""
    change_revision(revision, warnings=[*revision.warnings, sentence])
    _same_object(deployment, revision)
    others = [each for each in deployment.warnings if each != sentence]
    settle(deployment, sentence, revision, warnings=[*others, sentence])


def set_rollout(deployment: Deployment, rollout: dict[str, Any]) -> None:
    """How the traffic moves at the next change; one that is on its way goes on by the rollout that it began with."""
    deployment.next_rollout = rollout
    deployment.save(update_fields=["next_rollout"])
    use_next_rollout(deployment)


def use_next_rollout(deployment: Deployment) -> None:
    """Once no change is on its way, the wanted revision says again how the next one moves the traffic."""
    wanted, serving = deployment.wanted_revision, deployment.serving_revision
    moving = wanted and serving and wanted.pk != serving.pk and wanted.state != RevisionState.FAILED
    if wanted is None or moving or deployment.next_rollout is None:
        return
    change_revision(wanted, rollout=deployment.next_rollout)
    deployment.next_rollout = None
    deployment.save(update_fields=["next_rollout"])


def fail(actor: Actor, deployment: Deployment, revision: DeploymentRevision, reason: str) -> None:
    """`revision` will not answer; an older one that serves goes on."""
    change_revision(
        revision,
        state=RevisionState.FAILED,
        reason=reason,
        address="",
        serving_key="",
        ready_replicas=0,
    )
    _same_object(deployment, revision)
    values: dict[str, Any] = {}
    if deployment.serving_revision_id == revision.pk:
        values = {"serving_revision": None, "wake_asked_at": None, "away": ""}
    if deployment.wanted_revision_id == revision.pk:
        values["canary_percent"] = 0
        if deployment.serving_revision and "serving_revision" not in values:
            values["warnings"] = deployment.serving_revision.warnings
    settle(deployment, f"Revision {revision.number} failed: {reason}", revision, **values)
    shadow = deployment.shadow_revision
    if deployment.state == EndpointState.FAILED and shadow and shadow.state not in ENDED:
        retire(shadow)
        said = f"The copies to version {shadow.version.number} ended: nothing serves."
        settle(deployment, said, shadow, shadow_revision=None)
    use_next_rollout(deployment)
    _record(actor, "fail_revision", deployment, revision, None)


def retire(revision: DeploymentRevision) -> None:
    """Takes a revision out of service for good; a failed one stays Failed, and goes on saying why."""
    if revision.state != RevisionState.FAILED:
        change_revision(revision, state=RevisionState.RETIRED, reason="")
    change_revision(revision, address="", serving_key="", ready_replicas=0)


def lose(deployment: Deployment, revision: DeploymentRevision, why: str) -> None:
    """A revision that answered does so no more, and is to be started again."""
    said = f"{why} {AGAIN}"
    change_revision(
        revision,
        state=RevisionState.DEPLOYING,
        reason=said,
        address="",
        serving_key="",
        ready_replicas=0,
        **begins_now(),
    )
    _same_object(deployment, revision)
    # Who asked it to wake up at the moment when it did has no part in this.
    awake = {"wake_asked_at": None} if revision.pk == deployment.serving_revision_id else {}
    before = deployment.state
    settle(deployment, said, revision, **awake)
    if awake and (before in TROUBLED or deployment.state not in TROUBLED):
        # A change that is on its way, or that failed, has a state of its own: nobody was told that nothing answers.
        _tell_of_trouble(deployment)


def begins_now() -> dict[str, datetime]:
    """From now on it is to become ready, and has all the time for it that a first start has."""
    now = timezone.now()
    return {"started_at": now, "awaited_at": now}


def sleep(deployment: Deployment, revision: DeploymentRevision, said: str) -> None:
    """The serving revision needs no process until somebody asks, and its shadow none meanwhile."""
    shadow = deployment.shadow_revision
    for each in [revision, *([shadow] if shadow and shadow.state not in ENDED else [])]:
        change_revision(
            each,
            state=RevisionState.ASLEEP,
            reason="",
            replicas=0,
            ready_replicas=0,
            address="",
            serving_key="",
        )
        _same_object(deployment, each)
    settle(deployment, said, revision, wake_asked_at=None, failing="", away="")


def wake(deployment: Deployment, revision: DeploymentRevision) -> None:
    """A request came for a revision that sleeps, or what it gave way to did not come, or it has copies to answer."""
    said = "A request came: the endpoint wakes up." if deployment.wake_asked_at else AGAIN
    said = "" if revision.pk == deployment.shadow_revision_id else said
    change_revision(revision, state=RevisionState.DEPLOYING, reason=said, replicas=1, **begins_now())
    _same_object(deployment, revision)
    settle(deployment, said, revision)


def begin(deployment: Deployment, revision: DeploymentRevision) -> None:
    """A Pending revision is being started; one that answered before, again."""
    reason = "" if revision.active_at is None else AGAIN
    change_revision(revision, state=RevisionState.DEPLOYING, reason=reason, **begins_now())
    _same_object(deployment, revision)
    settle(
        deployment,
        f"Version {revision.version.number} is being started (revision {revision.number}).",
        revision,
    )


def prepare(deployment: Deployment, revision: DeploymentRevision, reason: str) -> None:
    """What the revision needs is being put into place, or is there: its time begins now."""
    said = reason or f"Version {revision.version.number} is being loaded."
    new = reason != revision.reason
    change_revision(revision, reason=reason, started_at=timezone.now())
    _same_object(deployment, revision)
    settle(deployment, said if new else "", revision)


def wait(deployment: Deployment, revision: DeploymentRevision, reason: str) -> None:
    """What the revision needs is not there now."""
    change_revision(revision, state=RevisionState.PENDING, reason=reason)
    _same_object(deployment, revision)
    settle(deployment, reason, revision)


def close(deployment: Deployment) -> None:
    """Nothing of the endpoint runs any more."""
    if deployment.wanted == Wanted.STOPPED and deployment.state != EndpointState.INACTIVE:
        deployment.state = EndpointState.INACTIVE
        settle(deployment, "The endpoint is down.", reason="")


def _same_object(deployment: Deployment, revision: DeploymentRevision) -> None:
    """The endpoint's own references show the change too."""
    if deployment.wanted_revision_id == revision.pk:
        deployment.wanted_revision = revision
    if deployment.serving_revision_id == revision.pk:
        deployment.serving_revision = revision
    if deployment.shadow_revision_id == revision.pk:
        deployment.shadow_revision = revision


def _record(
    actor: Actor,
    verb: str,
    deployment: Deployment,
    before: DeploymentRevision | None,
    after: DeploymentRevision | None,
) -> None:
    record(
        actor,
        verb,
        "deployment",
        deployment.endpoint_name,
        project=deployment.project,
        before=facts(before),
        after=facts(after) if after else {"state": deployment.state, "reason": deployment.reason},
    )


def facts(revision: DeploymentRevision | None) -> dict[str, Any] | None:
    """A revision as the audit trail shows it."""
    if revision is None:
        return None
    return {
        "revision": revision.number,
        "version": revision.version.number,
        "gpu_type": revision.gpu_type,
        "min_replicas": revision.min_replicas,
        "max_replicas": revision.max_replicas,
        "idle_seconds": revision.idle_seconds,
        "max_batch_size": revision.max_batch_size,
        "max_delay_ms": revision.max_delay_ms,
        "engine": revision.deployment.engine,
        "rollout": revision.rollout,
    }
