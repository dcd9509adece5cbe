"""What all verbs on endpoints share: taking a name, making the next revision the wanted one, the trail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from accounts.audit import record
from accounts.permissions import Actor
from common.checks import check_text
from common.errors import Conflict
from common.ids import new_id
from common.jobs import enqueue
from deployments.choices import RevisionState, Wanted
from deployments.engines import engine_for
from deployments.engines.base import EngineError
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import ENDED
from deployments.revisions import change_revision, facts, lock_deployment, retire, settle, tell
from deployments.wishes import Wish, wish_of
from registry.choices import VersionStatus
from registry.locks import lock_version
from registry.models import ModelVersion, RegisteredModel

DESCRIPTION_LENGTH = 20_000


def lacking_gpu(engine: str, gpu_type: str) -> str:
    """Why the engine cannot give this GPU now, without a full stop; "" when it can. May raise an EngineError."""
    if not gpu_type:
        return ""
    has = list(engine_for(engine).gpu_types())
    if gpu_type in has:
        return ""
    if not has:
        where = "is attached to this server" if (engine or settings.SERVING_ENGINE) == "local" else "is there"
        return f"No {gpu_type} {where}"
    return f"No {gpu_type} is there, only {', '.join(has)}"


def lack_known_now(engine: str, gpu_type: str) -> str:
    """The same for a verb, which goes on when the engine cannot be asked: a job asks again, and says why it cannot."""
    try:
        return lacking_gpu(engine, gpu_type)
    except EngineError:
        return ""


def lock_deployable(version_id: int) -> ModelVersion:
    """The version under its lock, when it may be served at all."""
    version = lock_version(version_id)
    if version.status == VersionStatus.PENDING:
        raise Conflict(
            f"Version {version.number} of {version.model.name} is still being looked at.",
            "Try again in a few seconds.",
            code="version_not_ready",
        )
    if version.status == VersionStatus.QUARANTINED:
        raise Conflict(
            f"Version {version.number} of {version.model.name} is Quarantined: {version.status_reason}",
            "A maintainer can release it with a note.",
            code="version_not_ready",
        )
    return version


def take_name(actor: Actor, model: RegisteredModel, endpoint_name: str, **first: Any) -> Deployment:
    """The locked endpoint of this name: the one there is, or a new one with the fields `first`."""
    rows = Deployment.objects.alive().filter(project=model.project, endpoint_name=endpoint_name)
    found = rows.values_list("pk", flat=True).first()
    if found is None:
        try:
            with transaction.atomic():
                new = Deployment(
                    project=model.project,
                    endpoint_name=endpoint_name,
                    model=model,
                    created_by=actor.user,
                    **first,
                )
                new.save(force_insert=True)
                return new
        except IntegrityError:
            found = rows.values_list("pk", flat=True).first()
            if found is None:
                raise changed_meanwhile(endpoint_name) from None
    deployment = lock_deployment(found)
    if deployment.model_id != model.pk:
        raise Conflict(
            f"The endpoint {endpoint_name} serves the model {deployment.model.name}.",
            "Choose another endpoint name, or undeploy and delete that endpoint first.",
            code="endpoint_name_taken",
        )
    return deployment


def want(
    actor: Actor,
    verb: str,
    deployment: Deployment,
    version: ModelVersion,
    wish: Wish,
    *,
    lack: str = "",
    said: str = "",
    **values: Any,
) -> DeploymentRevision:
    """Makes the next revision of a locked endpoint the wanted one, and asks a worker to make it so.

    `lack` is why its GPU is not there, `said` the event's sentence about who asked and why.
    """
    before = deployment.wanted_revision
    overtaken = _overtaken(deployment)
    for each in overtaken:
        retire(each)
    serving, low = deployment.serving_revision, max(1, wish.min_replicas)
    # The load that the serving one was scaled to comes to this one at once.
    replicas = min(max(low, serving.replicas if serving else 0), wish.max_replicas)
    warnings = [on_the_cpu(lack)] if lack and settings.NO_GPU == "cpu" else []
    revision = next_revision(actor, deployment, version, wish, replicas=replicas, warnings=warnings)
    if not version.servable:
        change_revision(revision, state=RevisionState.FAILED, reason=version.servable_reason)
    elif lack and settings.NO_GPU == "wait":
        change_revision(revision, reason=f"{lack}: the endpoint waits until there is one.")
    asked = said or f"{actor.user.username} asked for version {version.number}"
    settle(
        deployment,
        f"{asked} (revision {revision.number}).",
        revision,
        wanted=Wanted.RUNNING,
        wanted_revision=revision,
        canary_percent=0,
        next_rollout=None,
        warnings=warnings,
        **values,
    )
    for sentence in [*warnings, *([revision.reason] if revision.reason else [])]:
        tell(deployment, sentence, revision)
    after = facts(revision)
    if revision.state == RevisionState.FAILED and not (before or overtaken):
        record_act(actor, verb, deployment, before=None, after=after)
    else:
        changed(actor, verb, deployment, before=facts(before), after=after)
    return revision


def on_the_cpu(lack: str) -> str:
    return f"{lack}: the endpoint runs on the CPU."


def _overtaken(deployment: Deployment) -> list[DeploymentRevision]:
    """The revision that was on its way and is wanted no more, if there is one."""
    wanted = deployment.wanted_revision
    if wanted is None or wanted.pk == deployment.serving_revision_id or wanted.state in ENDED:
        return []
    return [wanted]


def next_revision(
    actor: Actor, deployment: Deployment, version: ModelVersion, wish: Wish, **values: Any
) -> DeploymentRevision:
    """A new revision of a locked endpoint; even one that may sleep starts awake."""
    last = DeploymentRevision.objects.filter(deployment=deployment).aggregate(last=Max("number"))["last"] or 0
    return DeploymentRevision.objects.create(
        deployment=deployment,
        number=last + 1,
        service_id=new_id("svc"),
        version=version,
        created_by=actor.user,
        **{"replicas": max(1, wish.min_replicas), **wish.values, **values},
    )


def unended(deployment: Deployment) -> list[DeploymentRevision]:
    """The revisions that an endpoint holds now."""
    found = [deployment.serving_revision, deployment.wanted_revision, deployment.shadow_revision]
    return list({revision.pk: revision for revision in found if revision}.values())


def wanted_revision(deployment: Deployment) -> DeploymentRevision:
    """What people asked for last; every endpoint has one from its first moment."""
    if deployment.wanted_revision is None:
        raise RuntimeError(f"The endpoint {deployment.endpoint_name} has no revision.")
    return deployment.wanted_revision


def current_wish(deployment: Deployment) -> Wish:
    """What the next revision runs with unless something else is asked for."""
    return replace(wish_of(wanted_revision(deployment)), rollout=deployment.rollout)


def same_revision(deployment: Deployment, seen: DeploymentRevision) -> None:
    """Conflict when something else is wanted by now."""
    if deployment.wanted_revision_id != seen.pk:
        raise changed_meanwhile(deployment.endpoint_name)


def changed_meanwhile(endpoint_name: str) -> Conflict:
    """The error that says so."""
    return Conflict(
        f"{endpoint_name} was changed meanwhile.", "Look at it again, then repeat.", code="changed_meanwhile"
    )


def must_run(deployment: Deployment) -> None:
    """Conflict for an endpoint that was taken down."""
    if deployment.wanted != Wanted.RUNNING:
        raise Conflict(
            f"{deployment.endpoint_name} is {deployment.state}.",
            "Deploy the version that you want to it: that starts it again.",
            code="endpoint_down",
        )


def describe(actor: Actor, verb: str, deployment: Deployment, **values: Any) -> None:
    """Changes fields of a locked endpoint that make no revision; the same values change nothing."""
    if "description" in values:
        check_text("description", values["description"], max_length=DESCRIPTION_LENGTH)
    new = {name: value for name, value in values.items() if getattr(deployment, name) != value}
    if not new:
        return
    before = {name: getattr(deployment, name) for name in new}
    Deployment.objects.filter(pk=deployment.pk).update(**new)
    for name, value in new.items():
        setattr(deployment, name, value)
    record_act(actor, verb, deployment, before=before, after=new)


def changed(actor: Actor, verb: str, deployment: Deployment, **values: Any) -> None:
    """The audit entry, and the job that makes it so."""
    record_act(actor, verb, deployment, **values)
    look_soon(deployment)


def look_soon(deployment: Deployment, delay: float = 0) -> None:
    """Has a worker compare the endpoint with what runs."""
    enqueue(
        "deployments.reconcile", key=f"reconcile:{deployment.pk}", delay=delay, deployment_id=deployment.pk
    )


def record_act(
    actor: Actor,
    verb: str,
    deployment: Deployment,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """The audit entry of a verb on an endpoint."""
    record(
        actor,
        verb,
        "deployment",
        deployment.endpoint_name,
        project=deployment.project,
        before=before,
        after=after,
    )
