"""Verbs on endpoints. They write what is wanted; a job makes it so (see reconcile).

Verbs on traffic between revisions stand in rollouts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from django.conf import settings
from django.db import transaction

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from common.checks import check_pattern, check_text, check_whole
from common.errors import Busy, Conflict, Invalid
from deployments.choices import RevisionState, Wanted
from deployments.engines import engine_for
from deployments.engines.base import EngineError
from deployments.following import check_follows, followed_version
from deployments.models import Deployment
from deployments.queries import DOWN, ENDED, endpoints_holding, find_deployment, find_revision
from deployments.revisions import facts, lock_deployment, retire, set_rollout, settle, tell, use_next_rollout
from deployments.wanting import (
    DESCRIPTION_LENGTH,
    changed,
    current_wish,
    describe,
    lack_known_now,
    lock_deployable,
    must_run,
    record_act,
    same_revision,
    take_name,
    unended,
    want,
    wanted_revision,
)
from deployments.wishes import REVISION_FIELDS, Wishes, check_engine, check_limits, check_wish, wish_of
from registry.models import Alias, ModelVersion, RegisteredModel
from registry.queries import find_model, version_among

# What makes another revision where it differs.
MAKE_REVISIONS = tuple(name for name in REVISION_FIELDS if name != "rollout")
ENDPOINT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class GpuType:
    """A GPU type that may be asked for, and whether the engine has one now (None: it cannot be asked)."""

    name: str
    is_there: bool | None


def deploy(
    *,
    actor: Actor,
    project: Project,
    model_name: str,
    version: str | int,
    endpoint_name: str,
    description: str = "",
    follow: bool | None = None,
    **wishes: Unpack[Wishes],
) -> Deployment:
    """A new endpoint for a Ready version, or the next revision of an endpoint of the same model.

    An alias as `version` is followed from then on, unless `follow` is false. A version that no engine can
    serve makes a revision that is Failed at once and says why.
    """
    require(actor, project, Right.WRITE)
    check_endpoint_name(endpoint_name)
    check_text("description", description, max_length=DESCRIPTION_LENGTH)
    wish, limits = check_wish(wishes), check_limits(wishes)
    engine = check_engine(wishes.get("engine"))
    model = find_model(project, model_name)
    target = version_among(ModelVersion.objects.all(), model, version)
    follows = _followed(model, version, follow)
    check_follows(target, follows)
    lack = lack_known_now(engine if "engine" in wishes else _engine_of(project, endpoint_name), wish.gpu_type)
    with transaction.atomic():
        locked = lock_deployable(target.pk)
        deployment = take_name(
            actor, locked.model, endpoint_name, description=description, engine=engine, **limits
        )
        is_new = deployment.wanted_revision_id is None
        if not is_new:
            named = {"description": description} if description else {}
            describe(actor, "update_deployment", deployment, **named, **limits)
            _set_engine(actor, deployment, engine if "engine" in wishes else deployment.engine)
        want(actor, "deploy", deployment, locked, wish, lack=lack, follows=follows)
    found = find_deployment(project, endpoint_name)
    found.is_new = is_new
    return found


def update_deployment(
    *,
    actor: Actor,
    project: Project,
    endpoint_name: str,
    version: str | int | None = None,
    follow: bool | None = None,
    description: str | None = None,
    **wishes: Unpack[Wishes],
) -> Deployment:
    """Changes what is given; another version or scale makes the next revision, the same makes none.

    A version by its number is kept: an alias that was followed is followed no more.
    """
    require(actor, project, Right.WRITE)
    found = find_deployment(project, endpoint_name)
    current = wanted_revision(found)
    target, follows = _target(found, version, follow)
    wish, limits = check_wish(wishes, current_wish(found)), check_limits(wishes)
    engine = check_engine(wishes["engine"]) if "engine" in wishes else found.engine
    lack = lack_known_now(engine, wish.gpu_type)
    values = {} if follows is None else {"follows": follows}
    with transaction.atomic():
        differs = (target.pk, wish) != (current.version_id, wish_of(current))
        locked = lock_deployable(target.pk) if differs else None
        deployment = lock_deployment(found.pk)
        if version is not None or any(wishes.get(name) is not None for name in MAKE_REVISIONS):
            same_revision(deployment, current)
        if "engine" in wishes:
            _set_engine(actor, deployment, engine)
        if locked is not None:
            must_run(deployment)
            want(actor, "update_deployment", deployment, locked, wish, lack=lack, **values)
        if "rollout" in wishes:
            _set_rollout(actor, deployment, wish.rollout)
        named = {} if description is None else {"description": description}
        describe(actor, "update_deployment", deployment, **values, **named, **limits)
    return find_deployment(project, endpoint_name)


def undeploy(*, actor: Actor, project: Project, endpoint_name: str) -> Deployment:
    """Takes an endpoint down and keeps its name and history; one that is down already stays as it is."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        take_down(actor, lock_deployment(find_deployment(project, endpoint_name).pk))
    return find_deployment(project, endpoint_name)


def take_down(actor: Actor, deployment: Deployment) -> None:
    """Undeploys a locked endpoint."""
    if deployment.wanted != Wanted.RUNNING:
        return
    before = {"state": deployment.state}
    for revision in unended(deployment):
        retire(revision)
    settle(
        deployment,
        f"{actor.user.username} undeployed the endpoint.",
        wanted=Wanted.STOPPED,
        serving_revision=None,
        shadow_revision=None,
        canary_percent=0,
        wake_asked_at=None,
        away="",
        warnings=[],
    )
    changed(actor, "undeploy", deployment, before=before, after={"state": deployment.state})


def let_go(*, actor: Actor, project: Project, version_ids: Collection[int]) -> list[str]:
    """Undeploys the endpoints that serve one of these versions, and ends changes and shadows that bring one."""
    require(actor, project, Right.WRITE)
    names = []
    for found in endpoints_holding(version_ids):
        with transaction.atomic():
            deployment = lock_deployment(found.pk)
            coming, serving = wanted_revision(deployment), deployment.serving_revision
            shadow = deployment.shadow_revision
            if shadow and shadow.version_id in version_ids:
                retire(shadow)
                settle(deployment, "The shadow's version is quarantined.", shadow, shadow_revision=None)
                changed(actor, "unset_shadow", deployment, before=facts(shadow))
            if (serving or coming).version_id in version_ids:
                take_down(actor, deployment)
            elif serving and coming.version_id in version_ids and coming.state not in ENDED:
                retire(coming)
                said = f"The change to version {coming.version.number} ended: it is quarantined."
                back = {"wanted_revision": serving, "canary_percent": 0, "warnings": serving.warnings}
                settle(deployment, said, coming, **back)
                use_next_rollout(deployment)
                changed(actor, "abort_rollout", deployment, before=facts(coming), after=facts(serving))
        names.append(found.endpoint_name)
    return names


def deploy_again(*, actor: Actor, project: Project, endpoint_name: str) -> Deployment:
    """Starts an endpoint that is down or whose last change failed, with the version and scale it had."""
    require(actor, project, Right.WRITE)
    found = find_deployment(project, endpoint_name)
    current = wanted_revision(found)
    lack = lack_known_now(found.engine, current.gpu_type)
    with transaction.atomic():
        locked = lock_deployable(current.version_id)
        deployment = lock_deployment(found.pk)
        same_revision(deployment, current)
        if deployment.wanted == Wanted.RUNNING and current.state != RevisionState.FAILED:
            raise Conflict(
                f"{endpoint_name} is {deployment.state}: there is nothing to start again.",
                "Undeploy it first to start it afresh.",
                code="already_deployed",
            )
        want(actor, "deploy_again", deployment, locked, current_wish(deployment), lack=lack)
    return find_deployment(project, endpoint_name)


def delete_deployment(*, actor: Actor, project: Project, endpoint_name: str) -> None:
    """Removes an endpoint that is Inactive or Failed; its name is free again."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        deployment = lock_deployment(find_deployment(project, endpoint_name).pk)
        if deployment.state not in DOWN:
            raise Conflict(
                f"{endpoint_name} is {deployment.state}; only one that is Inactive or Failed can be deleted.",
                "Undeploy it and wait until it is Inactive.",
                code="endpoint_in_use",
            )
        before = {"state": deployment.state, "model": deployment.model.name}
        for revision in unended(deployment):  # a shadow may be asked for after all else failed
            retire(revision)
        deployment.wanted = Wanted.DELETED
        deployment.save(update_fields=["wanted"])
        tell(deployment, f"{actor.user.username} deleted the endpoint.")
        changed(actor, "delete_deployment", deployment, before=before)


def look_again(*, actor: Actor, project: Project, endpoint_name: str) -> None:
    """Has a worker compare the endpoint with what really runs, now."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        changed(actor, "look_again", find_deployment(project, endpoint_name))


def read_logs(
    *,
    actor: Actor,
    project: Project,
    endpoint_name: str,
    tail: int = 200,
    replica: str = "",
    search: str = "",
    revision: int | None = None,
) -> Sequence[str]:
    """The last lines that the endpoint's processes wrote; Busy when the engine cannot be asked.

    Of the wanted revision unless `revision` says another; of one `replica`, and with the text `search`, if given.
    """
    require(actor, project, Right.READ)
    check_whole("tail", tail, low=1, high=10_000)
    check_text("search", search, max_length=200)
    deployment = find_deployment(project, endpoint_name)
    found = wanted_revision(deployment) if revision is None else find_revision(deployment, revision)
    try:
        return engine_for(deployment.engine).logs(found.service_id, tail, replica or None, search)
    except EngineError as error:
        raise Busy(str(error), "Try again in a few seconds.", code="engine_away", retry_after=5) from error


def gpu_types(engine: str = "") -> list[GpuType]:
    """The GPU types that may be asked for, those that the engine has first."""
    try:
        has = set(engine_for(check_engine(engine)).gpu_types())
    except EngineError:
        return [GpuType(name, None) for name in settings.GPU_TYPES]
    return sorted(
        (GpuType(name, name in has) for name in settings.GPU_TYPES), key=lambda each: not each.is_there
    )


def endpoint_url(deployment: Deployment) -> str:
    """Where predictions are asked for: the same over all versions."""
    return f"{settings.GATEWAY_URL}/serve/{deployment.project.slug}/{deployment.endpoint_name}"


def check_endpoint_name(name: object) -> str:
    return check_pattern(
        "endpoint_name",
        name,
        ENDPOINT_NAME,
        "1 to 63 lower-case letters, digits and hyphens, with no hyphen at its ends",
        max_length=63,
    )


def _engine_of(project: Project, endpoint_name: str) -> str:
    """The engine of the endpoint of this name; "", the platform's own, for a new one."""
    rows = Deployment.objects.alive().filter(project=project, endpoint_name=endpoint_name)
    return rows.values_list("engine", flat=True).first() or ""


def _target(
    deployment: Deployment, version: str | int | None, follow: bool | None
) -> tuple[ModelVersion, str | None]:
    """The version that a change asks for, and the alias that is followed from then on, or ""; None leaves that as it is.

    The alias that is followed already, which a form sends with every change, moves nothing that following would not.
    """
    if version is None:
        if follow and not deployment.follows:
            raise Invalid.field("follow", "follow needs version, the alias to follow.")
        return wanted_revision(deployment).version, "" if follow is False else None
    if follow is not False and deployment.follows and version == deployment.follows:
        return followed_version(deployment), deployment.follows
    target = version_among(ModelVersion.objects.all(), deployment.model, version)
    follows = _followed(deployment.model, version, follow)
    check_follows(target, follows)
    return target, follows


def _followed(model: RegisteredModel, version: str | int, follow: bool | None) -> str:
    """The alias that is to be followed, or ""."""
    is_alias = Alias.objects.filter(model=model, name=str(version)).exists()
    if follow and not is_alias:
        raise Invalid.field(
            "follow", f"{version} is no alias of {model.name}; only an alias can be followed."
        )
    return str(version) if is_alias and follow is not False else ""


def _set_rollout(actor: Actor, deployment: Deployment, rollout: dict[str, Any]) -> None:
    """Another way for the traffic to move; the same changes nothing and is not told."""
    before = deployment.rollout
    if rollout == before:
        return
    set_rollout(deployment, rollout)
    who, later = actor.user.username, deployment.next_rollout is not None
    steps = ", ".join(f"{step} %" for step in rollout.get("steps", []))
    how = f"by steps of {steps}" if steps else "at once"
    own = " The one on its way keeps its own steps and limits." if later else ""
    tell(deployment, f"{who} asked that the next change moves the requests {how}.{own}")
    record_act(actor, "update_deployment", deployment, before={"rollout": before}, after={"rollout": rollout})


def _set_engine(actor: Actor, deployment: Deployment, engine: str) -> None:
    """Another engine, for an endpoint that is down: what runs is known to one engine only."""
    if engine == deployment.engine:
        return
    if deployment.state not in DOWN:
        raise Conflict(
            f"{deployment.endpoint_name} is {deployment.state} and stays on its engine.",
            "Undeploy it first, then deploy it on the other engine.",
            code="endpoint_in_use",
        )
    before, who = deployment.engine, actor.user.username
    Deployment.objects.filter(pk=deployment.pk).update(engine=engine)
    deployment.engine = engine
    tell(deployment, f"{who} asked for the engine {engine or settings.SERVING_ENGINE}.")
    record_act(actor, "update_deployment", deployment, before={"engine": before}, after={"engine": engine})
