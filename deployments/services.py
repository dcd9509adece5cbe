"""Verbs on endpoints. They write what is wanted; a job makes it so (see reconcile)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from common.checks import check_pattern, check_text, check_whole, shorten
from common.errors import Busy, Conflict, Invalid
from common.ids import new_id
from common.jobs import enqueue
from deployments.choices import RevisionState, Wanted
from deployments.engines import current_engine
from deployments.engines.base import EngineError
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import DOWN, ENDED, find_deployment, waits_for_gpu
from deployments.revisions import change_revision, facts, lock_deployment, retire, settle, tell
from registry.choices import VersionStatus
from registry.locks import lock_version
from registry.models import ModelVersion, RegisteredModel
from registry.queries import find_model, version_among

ENDPOINT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
MOST_REPLICAS = 32
DESCRIPTION_LENGTH = 20_000


@dataclass(frozen=True)
class Scale:
    """What a version runs on: a known GPU type or "", and how many processes at least and at most."""

    gpu_type: str
    min_replicas: int
    max_replicas: int


def deploy(
    *,
    actor: Actor,
    project: Project,
    model_name: str,
    version: str | int,
    endpoint_name: str,
    gpu_type: str = "",
    min_replicas: int = 1,
    max_replicas: int = 1,
    description: str = "",
) -> Deployment:
    """A new endpoint for a Ready version, or the next revision of an endpoint of the same model.

    A version that no engine can serve makes a revision that is Failed at once and says why.
    """
    require(actor, project, Right.WRITE)
    check_endpoint_name(endpoint_name)
    check_text("description", description, max_length=DESCRIPTION_LENGTH)
    scale = check_scale(gpu_type, min_replicas, max_replicas)
    target = version_among(ModelVersion.objects.all(), find_model(project, model_name), version)
    with transaction.atomic():
        locked = _lock_deployable(target.pk)
        deployment = _take_name(actor, locked.model, endpoint_name, description)
        _want(actor, "deploy", deployment, locked, scale)
    return find_deployment(project, endpoint_name)


def update_deployment(
    *,
    actor: Actor,
    project: Project,
    endpoint_name: str,
    version: str | int | None = None,
    gpu_type: str | None = None,
    min_replicas: int | None = None,
    max_replicas: int | None = None,
    description: str | None = None,
) -> Deployment:
    """Changes what is given; another version or scale makes the next revision, the same makes none."""
    require(actor, project, Right.WRITE)
    found = find_deployment(project, endpoint_name)
    current = wanted_revision(found)
    target = current.version
    if version is not None:
        target = version_among(ModelVersion.objects.all(), found.model, version)
    scale = check_scale(
        current.gpu_type if gpu_type is None else gpu_type,
        current.min_replicas if min_replicas is None else min_replicas,
        current.max_replicas if max_replicas is None else max_replicas,
    )
    with transaction.atomic():
        if (target.pk, scale) != (current.version_id, _scale_of(current)):
            locked = _lock_deployable(target.pk)
            deployment = lock_deployment(found.pk)
            _unchanged_since(deployment, current)
            _want(actor, "update_deployment", deployment, locked, scale)
        if description is not None:
            _describe(actor, lock_deployment(found.pk), description)
    return find_deployment(project, endpoint_name)


def undeploy(*, actor: Actor, project: Project, endpoint_name: str) -> Deployment:
    """Takes an endpoint down and keeps its name and history; one that is down already stays as it is."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        deployment = lock_deployment(find_deployment(project, endpoint_name).pk)
        if deployment.wanted == Wanted.RUNNING:
            before = {"state": deployment.state}
            for revision in _unended(deployment):
                retire(revision)
            settle(
                deployment,
                f"{actor.user.username} undeployed the endpoint.",
                wanted=Wanted.STOPPED,
                serving_revision=None,
                warnings=[],
            )
            _changed(actor, "undeploy", deployment, before=before, after={"state": deployment.state})
    return find_deployment(project, endpoint_name)


def deploy_again(*, actor: Actor, project: Project, endpoint_name: str) -> Deployment:
    """Starts an endpoint that is down or whose last change failed, with the version and scale it had."""
    require(actor, project, Right.WRITE)
    found = find_deployment(project, endpoint_name)
    current = wanted_revision(found)
    with transaction.atomic():
        locked = _lock_deployable(current.version_id)
        deployment = lock_deployment(found.pk)
        _same_revision(deployment, current)
        if deployment.wanted == Wanted.RUNNING and current.state != RevisionState.FAILED:
            raise Conflict(
                f"{endpoint_name} is {deployment.state}: there is nothing to start again.",
                "Undeploy it first to start it afresh.",
                code="already_deployed",
            )
        _want(actor, "deploy_again", deployment, locked, _scale_of(current))
    return find_deployment(project, endpoint_name)


def delete_deployment(*, actor: Actor, project: Project, endpoint_name: str) -> None:
    """Removes an endpoint that is Inactive or Failed; its name is free again."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        deployment = lock_deployment(find_deployment(project, endpoint_name).pk)
        if deployment.state not in DOWN:
            raise Conflict(
                f"{endpoint_name} is {deployment.state}. Undeploy it before deleting it.",
                "Undeploy it and wait until it is Inactive.",
                code="endpoint_in_use",
            )
        before = {"state": deployment.state, "model": deployment.model.name}
        deployment.wanted = Wanted.DELETED
        deployment.save(update_fields=["wanted"])
        tell(deployment, f"{actor.user.username} deleted the endpoint.")
        _changed(actor, "delete_deployment", deployment, before=before)


def look_again(*, actor: Actor, project: Project, endpoint_name: str) -> None:
    """Has a worker compare the endpoint with what really runs, now."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        _changed(actor, "look_again", find_deployment(project, endpoint_name))


def read_logs(*, actor: Actor, project: Project, endpoint_name: str, tail: int = 200) -> Sequence[str]:
    """The last lines that the endpoint's processes wrote; Busy when the engine cannot be asked."""
    require(actor, project, Right.READ)
    check_whole("tail", tail, low=1, high=10_000)
    revision = wanted_revision(find_deployment(project, endpoint_name))
    try:
        return current_engine().logs(revision.service_id, tail)
    except EngineError as error:
        raise Busy(str(error), "Try again in a few seconds.", code="engine_away", retry_after=5) from error


def endpoint_url(deployment: Deployment) -> str:
    """Where predictions are asked for: the same over all versions."""
    return f"{settings.PUBLIC_URL}/serve/{deployment.project.slug}/{deployment.endpoint_name}"


def check_endpoint_name(name: object) -> str:
    return check_pattern(
        "endpoint_name",
        name,
        ENDPOINT_NAME,
        "1 to 63 lower-case letters, digits and hyphens, with no hyphen at its ends",
        max_length=63,
    )


def check_scale(gpu_type: object, min_replicas: object, max_replicas: object) -> Scale:
    """Known GPU type (any case), and 1 <= min_replicas <= max_replicas."""
    low = check_whole("min_replicas", min_replicas, low=1, high=MOST_REPLICAS)
    high = check_whole("max_replicas", max_replicas, low=1, high=MOST_REPLICAS)
    if high < low:
        raise Invalid.field(
            "max_replicas", f"max_replicas is {high}; it must not be less than min_replicas, {low}."
        )
    return Scale(_check_gpu_type(gpu_type), low, high)


def _check_gpu_type(value: object) -> str:
    text = check_text("gpu_type", value, max_length=200).strip()
    known = {name.lower(): name for name in settings.GPU_TYPES}
    if text and text.lower() not in known:
        raise Invalid.field(
            "gpu_type",
            f"gpu_type is {shorten(text)}; it must be one of {', '.join(settings.GPU_TYPES)}.",
            "Leave it out to run on the CPU.",
            code="unknown_gpu_type",
        )
    return known[text.lower()] if text else ""


def _lock_deployable(version_id: int) -> ModelVersion:
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


def _take_name(actor: Actor, model: RegisteredModel, endpoint_name: str, description: str) -> Deployment:
    """The locked endpoint of this name: the one there is, or a new one."""
    rows = Deployment.objects.alive().filter(project=model.project, endpoint_name=endpoint_name)
    found = rows.values_list("pk", flat=True).first()
    if found is None:
        try:
            with transaction.atomic():
                new = Deployment(
                    project=model.project,
                    endpoint_name=endpoint_name,
                    model=model,
                    description=description,
                    created_by=actor.user,
                )
                new.save(force_insert=True)
                return new
        except IntegrityError:
            found = rows.values_list("pk", flat=True).first()
            if found is None:
                raise _changed_meanwhile(endpoint_name) from None
    deployment = lock_deployment(found)
    if deployment.model_id != model.pk:
        raise Conflict(
            f"The endpoint {endpoint_name} serves the model {deployment.model.name}.",
            "Choose another endpoint name, or undeploy and delete that endpoint first.",
            code="endpoint_name_taken",
        )
    if description:
        _describe(actor, deployment, description)
    return deployment


def _want(actor: Actor, verb: str, deployment: Deployment, version: ModelVersion, scale: Scale) -> None:
    """Makes the next revision of a locked endpoint the wanted one, and asks a worker to make it so."""
    before = deployment.wanted_revision
    overtaken = _overtaken(deployment)
    for revision in overtaken:
        retire(revision)
    revision = _next_revision(actor, deployment, version, scale)
    if not version.servable:
        change_revision(revision, state=RevisionState.FAILED, reason=version.servable_reason)
    elif waits_for_gpu(revision):
        change_revision(revision, reason=_no_gpu(scale.gpu_type, "waits until there is one."))
    settle(
        deployment,
        f"{actor.user.username} asked for version {version.number} (revision {revision.number}).",
        revision,
        wanted=Wanted.RUNNING,
        wanted_revision=revision,
        warnings=_warnings(scale),
    )
    for sentence in [*deployment.warnings, *([revision.reason] if revision.reason else [])]:
        tell(deployment, sentence, revision)
    after = facts(revision)
    if revision.state == RevisionState.FAILED and not (before or overtaken):
        _record(actor, verb, deployment, before=None, after=after)
    else:
        _changed(actor, verb, deployment, before=facts(before), after=after)


def _overtaken(deployment: Deployment) -> list[DeploymentRevision]:
    """The revision that was on its way and is wanted no more, if there is one."""
    wanted = deployment.wanted_revision
    if wanted is None or wanted.pk == deployment.serving_revision_id or wanted.state in ENDED:
        return []
    return [wanted]


def _next_revision(
    actor: Actor, deployment: Deployment, version: ModelVersion, scale: Scale
) -> DeploymentRevision:
    last = DeploymentRevision.objects.filter(deployment=deployment).aggregate(last=Max("number"))["last"] or 0
    return DeploymentRevision.objects.create(
        deployment=deployment,
        number=last + 1,
        service_id=new_id("svc"),
        version=version,
        gpu_type=scale.gpu_type,
        min_replicas=scale.min_replicas,
        max_replicas=scale.max_replicas,
        created_by=actor.user,
    )


def _warnings(scale: Scale) -> list[str]:
    found = []
    if scale.gpu_type and settings.NO_GPU == "cpu":
        found.append(_no_gpu(scale.gpu_type, "runs on the CPU."))
    if scale.max_replicas > scale.min_replicas:
        count = "1 replica" if scale.min_replicas == 1 else f"{scale.min_replicas} replicas"
        found.append(f"This server does not scale by load: the endpoint runs with {count}.")
    return found


def _no_gpu(gpu_type: str, so: str) -> str:
    return f"No {gpu_type} is attached to this server: the endpoint {so}"


def _unended(deployment: Deployment) -> list[DeploymentRevision]:
    found = [deployment.serving_revision, deployment.wanted_revision]
    return list({revision.pk: revision for revision in found if revision}.values())


def wanted_revision(deployment: Deployment) -> DeploymentRevision:
    """What people asked for last; every endpoint has one from its first moment."""
    if deployment.wanted_revision is None:
        raise RuntimeError(f"The endpoint {deployment.endpoint_name} has no revision.")
    return deployment.wanted_revision


def _scale_of(revision: DeploymentRevision) -> Scale:
    return Scale(revision.gpu_type, revision.min_replicas, revision.max_replicas)


def _same_revision(deployment: Deployment, seen: DeploymentRevision) -> None:
    if deployment.wanted_revision_id != seen.pk:
        raise _changed_meanwhile(deployment.endpoint_name)


def _changed_meanwhile(endpoint_name: str) -> Conflict:
    return Conflict(
        f"{endpoint_name} was changed meanwhile.", "Look at it again, then repeat.", code="changed_meanwhile"
    )


def _unchanged_since(deployment: Deployment, seen: DeploymentRevision) -> None:
    _same_revision(deployment, seen)
    if deployment.wanted != Wanted.RUNNING:
        raise Conflict(
            f"{deployment.endpoint_name} is {deployment.state}.",
            "Deploy the version that you want to it: that starts it again.",
            code="endpoint_down",
        )


def _describe(actor: Actor, deployment: Deployment, description: str) -> None:
    check_text("description", description, max_length=DESCRIPTION_LENGTH)
    if deployment.description != description:
        before = {"description": deployment.description}
        Deployment.objects.filter(pk=deployment.pk).update(description=description)
        _record(actor, "update_deployment", deployment, before=before, after={"description": description})


def _changed(actor: Actor, verb: str, deployment: Deployment, **values: Any) -> None:
    """The audit entry, and the job that makes it so."""
    _record(actor, verb, deployment, **values)
    enqueue("deployments.reconcile", key=f"reconcile:{deployment.pk}", deployment_id=deployment.pk)


def _record(
    actor: Actor,
    verb: str,
    deployment: Deployment,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    record(
        actor,
        verb,
        "deployment",
        deployment.endpoint_name,
        project=deployment.project,
        before=before,
        after=after,
    )
