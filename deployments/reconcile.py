"""Makes what runs equal to what is wanted, one short step at a time.

Every step reads what the database wants, asks the engine what is, and acts on the difference. Nothing is
remembered between steps and every step may be repeated, so a worker may die anywhere: the next one goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.permissions import system_actor
from common.jobs import Again
from deployments import folders, revisions, rollouts
from deployments.choices import EndpointState, RevisionState, Wanted
from deployments.engines import engine_for
from deployments.engines.base import (
    START_SECONDS,
    Engine,
    EngineAway,
    EngineRefused,
    EngineWaits,
    Service,
    ServiceSpec,
    ServiceState,
)
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import ENDED, Standing, gives_way, in_canary, is_replacing, live_revisions, standing
from deployments.wanting import lacking_gpu, look_soon, on_the_cpu

log = logging.getLogger(__name__)

LOOK_AGAIN = Again(0.3)
AT_ONCE = Again(0)
# Requests that read the old route just before the switch still reach the old process.
BEFORE_STOPPING = Again(1)
ENGINE_AWAY = Again(2)
BEFORE_RESTART = Again(3)
WATCHING = Again(1)
GOES_ON = "The endpoint goes on with the replicas that it has:"


def reconcile(deployment_id: int) -> Again | None:
    """One step for one endpoint; None when all is as wanted."""
    plan = Deployment.objects.with_details().filter(pk=deployment_id).first()
    if plan is None:
        return None
    try:
        return _step(plan, engine_for(plan.engine))
    except (EngineAway, EngineRefused) as error:
        note(plan, str(error))
        return ENGINE_AWAY


def _step(plan: Deployment, engine: Engine) -> Again | None:
    if plan.wanted != Wanted.RUNNING:
        return _take_down(plan, engine)
    if _sleeper(plan):
        return _wake(plan)
    live = live_revisions(plan)
    observed = [(revision, engine.observe(revision.service_id)) for revision in live]
    steps = [_bring_up(plan, revision, engine, service) for revision, service in observed]
    if in_canary(plan):
        steps.append(BEFORE_STOPPING if rollouts.advance(plan) else WATCHING)
    problems = [_resize(plan, revision, engine, service) for revision, service in observed]
    problem = next(filter(None, problems), None)
    as_known = standing(plan) == Standing(EndpointState(plan.state), plan.reason)
    if plan.away or not (problem or as_known):
        note(plan, None)
    if problem:
        note(plan, problem)
    again = [step for step in steps if step is not None]
    if again:
        return min(again, key=lambda step: step.seconds)
    _stop(engine, _services_of(engine), _own_services(plan) - {revision.service_id for revision in live})
    return None


def _sleeper(plan: Deployment) -> DeploymentRevision | None:
    """What sleeps and is to wake up: what serves, once somebody asked, and its shadow, once that is awake.

    What gave way to another revision wakes when that one has failed, and not before.
    """
    serving, shadow = plan.serving_revision, plan.shadow_revision
    if serving is not None and serving.state == RevisionState.ASLEEP:
        needed = plan.wake_asked_at or serving.min_replicas
        return serving if needed and not gives_way(plan) else None
    if serving is None or serving.state != RevisionState.ACTIVE:
        return None
    return shadow if shadow is not None and shadow.state == RevisionState.ASLEEP else None


def _wake(plan: Deployment) -> Again:
    with transaction.atomic():
        deployment = revisions.lock_as_planned(plan)
        revision = _sleeper(deployment) if deployment else None
        if deployment and revision:
            revisions.wake(deployment, revision)
    return AT_ONCE


def _bring_up(
    plan: Deployment, revision: DeploymentRevision, engine: Engine, service: Service | None
) -> Again | None:
    """One step that brings a revision nearer to answering; None when it answers."""
    if service is not None and service.state == ServiceState.READY:
        return _route_to(plan, revision, service)
    if revision.state == RevisionState.ACTIVE:
        return _lost(plan, revision, service)
    if service is None:
        return _start(plan, revision, engine)
    if service.state == ServiceState.FAILED:
        return _restart(plan, revision, engine, service)
    if not service.preparing and _waits_for_gpu(plan, revision):
        return None
    if service.unplaced:
        _wait(plan, revision, service.reason)
        return None
    if revision.state == RevisionState.PENDING:
        _begin(plan, revision)
        return LOOK_AGAIN
    if service.preparing:
        return _go_on_preparing(plan, revision, engine, service)
    if _since(revision.started_at, revision) > timedelta(seconds=service.start_seconds):
        why = f": {service.reason.rstrip('.')}." if service.reason else "; see the logs."
        said = f"The model did not become ready within {service.start_seconds} s{why}"
        return _give_up(plan, revision, said)
    _load(plan, revision)
    return LOOK_AGAIN


def _go_on_preparing(
    plan: Deployment, revision: DeploymentRevision, engine: Engine, service: Service
) -> Again:
    most = engine.longest_preparation
    if most is None or _since(revision.awaited_at, revision) < most:
        return _prepare(plan, revision, service.reason)
    minutes = most.total_seconds() / 60
    said = f"It was not ready after {minutes:g} minutes, the most that it may take to prepare it."
    return _give_up(plan, revision, f"{said} {service.reason}")


def _load(plan: Deployment, revision: DeploymentRevision) -> None:
    """What was prepared is in place: it says so no more, and its time begins."""
    says = "" if revision.active_at is None else revisions.AGAIN
    if revision.reason != says and revision.started_at != revision.awaited_at:
        _prepare(plan, revision, says)


def _prepare(plan: Deployment, revision: DeploymentRevision, reason: str) -> Again:
    """Its time to become ready begins once it is prepared, and until then is put off now and then."""
    due = _since(revision.started_at, revision) > timedelta(seconds=START_SECONDS / 4)
    if revision.reason != reason or due:
        with transaction.atomic():
            deployment, found = _still_wanted(plan, revision)
            if deployment and found:
                revisions.prepare(deployment, found, reason)
    return WATCHING


def _route_to(plan: Deployment, revision: DeploymentRevision, service: Service) -> Again | None:
    if _known(revision, service):
        return None
    with transaction.atomic():
        deployment, found = _still_wanted(plan, revision)
        if deployment and found and not _known(found, service):
            revisions.activate(system_actor(), deployment, found, service.address, service.key)
            _count_ready(found, service)
    return BEFORE_STOPPING


def _resize(plan: Deployment, revision: DeploymentRevision, engine: Engine, service: Service | None) -> str:
    """Asks for as many replicas as are wanted of what answers; why there are none, or "": it goes on answering."""
    if service is None or service.state != ServiceState.READY or not _known(revision, service):
        return ""
    if _as_many(revision, service) or not _rows(revision).exists():
        return f"{GOES_ON} {service.reason}" if service.unplaced else ""
    lack = _lack_to_wait_for(plan, revision)
    if lack:
        return f"{lack}: the endpoint goes on with the replicas that it has."
    try:
        engine.apply(_spec(plan, revision))
    except (EngineRefused, EngineWaits) as error:
        return f"{GOES_ON} {error}"
    return ""


def _known(revision: DeploymentRevision, service: Service) -> bool:
    """Whether requests are sent to this service already."""
    route = (revision.state, revision.address, revision.serving_key)
    return route == (RevisionState.ACTIVE, service.address, service.key)


def _as_many(revision: DeploymentRevision, service: Service) -> bool:
    """Whether the service has as many replicas as are wanted; one that does not count them has."""
    living = [each for each in service.replicas if each.state != ServiceState.STOPPING]
    return not service.replicas or len(living) == revision.replicas


def _lost(plan: Deployment, revision: DeploymentRevision, service: Service | None) -> Again:
    with transaction.atomic():
        deployment, found = _still_wanted(plan, revision)
        if deployment and found and found.state == RevisionState.ACTIVE:
            why = service.reason if service and service.reason else "Its serving process is gone."
            revisions.lose(deployment, found, why)
    return AT_ONCE


def _restart(
    plan: Deployment, revision: DeploymentRevision, engine: Engine, service: Service
) -> Again | None:
    """What answered before is started once more, on what it asked for; a Pending one waited for that."""
    if revision.state != RevisionState.PENDING and not _worth_restarting(revision):
        return _give_up(
            plan, revision, service.reason or "The model's process ended without a reason; see the logs."
        )
    if _waits_for_gpu(plan, revision):
        return None
    _begin(plan, revision)
    if waits := _await_files(plan, revision, engine):
        return waits
    _apply(plan, revision, engine)
    return BEFORE_RESTART


def _start(plan: Deployment, revision: DeploymentRevision, engine: Engine) -> Again | None:
    """Asks the engine to serve the version's files, once they are in place."""
    if _waits_for_gpu(plan, revision):
        return None
    _begin(plan, revision)
    if waits := _await_files(plan, revision, engine) or _await_room(plan, revision, engine):
        return waits
    _apply(plan, revision, engine, new=True)
    return LOOK_AGAIN


def _await_room(plan: Deployment, revision: DeploymentRevision, engine: Engine) -> Again | None:
    """None when nothing is left of what the revision replaces, and of its shadow."""
    serving, shadow = plan.serving_revision, plan.shadow_revision
    if serving is None or not is_replacing(plan, revision):
        return None
    if serving.state != RevisionState.ASLEEP:
        with transaction.atomic():
            deployment = revisions.lock_as_planned(plan)
            found = deployment.serving_revision if deployment else None
            if deployment is None or found is None:
                return AT_ONCE
            said = f"Version {found.version.number} gives way to version {revision.version.number}: it ends first."
            revisions.sleep(deployment, found, said)
        return BEFORE_STOPPING
    old = {each.service_id for each in (serving, shadow) if each is not None}
    left = {service_id: engine.observe(service_id) for service_id in old}
    return LOOK_AGAIN if _stop(engine, {key: each for key, each in left.items() if each}, old) else None


def _await_files(plan: Deployment, revision: DeploymentRevision, engine: Engine) -> Again | None:
    """None when the files are where the engine reads them; they may be many gigabytes, so a job of its own brings them."""
    if not engine.reads_folders or folders.is_there(revision.version.manifest):
        _load(plan, revision)
        return None
    return _prepare(plan, revision, folders.bring_soon(revision.version.manifest))


def _begin(plan: Deployment, revision: DeploymentRevision) -> None:
    """What it may have waited for is there."""
    with transaction.atomic():
        deployment, found = _still_wanted(plan, revision)
        if deployment and found and found.state == RevisionState.PENDING:
            revisions.begin(deployment, found)


def _waits_for_gpu(plan: Deployment, revision: DeploymentRevision) -> bool:
    """Whether it waits for a GPU that the engine does not have, or no longer has."""
    lack = _lack_to_wait_for(plan, revision)
    if lack:
        _wait(plan, revision, f"{lack}: the endpoint waits until there is one.")
    return bool(lack)


def _lack_to_wait_for(plan: Deployment, revision: DeploymentRevision) -> str:
    return lacking_gpu(plan.engine, revision.gpu_type) if settings.NO_GPU == "wait" else ""


def _wait(plan: Deployment, revision: DeploymentRevision, reason: str) -> None:
    """What it needs is not there: it stays Pending and says so, and is looked at again every few seconds."""
    with transaction.atomic():
        deployment, found = _still_wanted(plan, revision)
        if deployment and found and (found.state, found.reason) != (RevisionState.PENDING, reason):
            revisions.wait(deployment, found, reason)


def _apply(plan: Deployment, revision: DeploymentRevision, engine: Engine, *, new: bool = False) -> None:
    """Asks the engine to serve the revision, if it is still wanted. The time of a `new` service begins here."""
    rows = _rows(revision)
    if not (rows.update(**revisions.begins_now()) if new else rows.exists()):
        return
    spec = _spec(plan, revision)
    try:
        engine.apply(spec)
    except EngineRefused as error:
        _give_up(plan, revision, str(error))
    except EngineWaits as error:
        _wait(plan, revision, str(error))


def _rows(revision: DeploymentRevision) -> QuerySet[DeploymentRevision]:
    """The revision as it is now, if it has not ended."""
    return DeploymentRevision.objects.filter(pk=revision.pk).exclude(state__in=ENDED)


def _spec(plan: Deployment, revision: DeploymentRevision) -> ServiceSpec:
    lack = lacking_gpu(plan.engine, revision.gpu_type)
    if lack:
        _warn(plan, revision, on_the_cpu(lack))
    return ServiceSpec(
        service_id=revision.service_id,
        model_dir=folders.folder_of(revision.version.manifest),
        replicas=revision.replicas,
        endpoint_name=plan.endpoint_name,
        model_name=plan.model.name,
        model_version=revision.version.number,
        gpu_type="" if lack else revision.gpu_type,
        max_batch_size=revision.max_batch_size,
        max_delay_ms=revision.max_delay_ms,
    )


def _warn(plan: Deployment, revision: DeploymentRevision, sentence: str) -> None:
    with transaction.atomic():
        deployment, found = _still_wanted(plan, revision)
        if deployment and found and sentence not in found.warnings:
            revisions.warn(deployment, found, sentence)


def _give_up(plan: Deployment, revision: DeploymentRevision, reason: str) -> Again:
    with transaction.atomic():
        deployment, found = _still_wanted(plan, revision)
        if deployment and found:
            revisions.fail(system_actor(), deployment, found, reason)
    return AT_ONCE


def _take_down(plan: Deployment, engine: Engine) -> Again | None:
    if _stop(engine, _services_of(engine), _own_services(plan)):
        return LOOK_AGAIN
    with transaction.atomic():
        deployment = revisions.lock_as_planned(plan)
        if deployment:
            revisions.close(deployment)
    return None


def _stop(engine: Engine, services: Mapping[str, Service], unwanted: set[str]) -> bool:
    """Stops those of `unwanted` that the engine still knows; whether there were any."""
    known = unwanted & set(services)
    for service_id in known:
        if services[service_id].state != ServiceState.STOPPING:
            engine.stop(service_id)
    return bool(known)


def _still_wanted(
    plan: Deployment, revision: DeploymentRevision
) -> tuple[Deployment, DeploymentRevision] | tuple[None, None]:
    """The locked endpoint and its own row of `revision`; nothing when the plan is out of date."""
    deployment = revisions.lock_as_planned(plan)
    if deployment is not None:
        for found in live_revisions(deployment):
            if found.pk == revision.pk:
                return deployment, found
    return None, None


def note(plan: Deployment, problem: str | None) -> None:
    """Writes why an endpoint cannot be looked after now, once; None when it can."""
    with transaction.atomic():
        deployment = revisions.lock_as_planned(plan)
        if deployment is None:
            return
        if problem is None and deployment.away:
            revisions.find_engine(deployment)
        elif problem is None:
            revisions.settle(deployment)
        elif deployment.reason != problem:
            revisions.complain(deployment, problem)


def _miss_engine(plan: Deployment, problem: str) -> None:
    """At the first look a complaint: a moment is nothing. At the next one what serves is Degraded."""
    serving, complained = plan.serving_revision, plan.reason != standing(plan).reason
    answers = serving is not None and serving.state == RevisionState.ACTIVE
    if plan.away or not (answers and complained):
        note(plan, problem)
        return
    with transaction.atomic():
        deployment = revisions.lock_as_planned(plan)
        if deployment:
            revisions.miss_engine(deployment, problem)


def give_up(deployment_id: int, error: str) -> None:
    """All tries of the job failed: what was on its way is Failed and says why."""
    plan = Deployment.objects.with_details().filter(pk=deployment_id).first()
    if plan is None:
        return
    reason = (
        f"The deployment could not be carried out: {error.rstrip('.')}. Deploy it again, or ask an operator."
    )
    for revision in live_revisions(plan):
        if revision.state != RevisionState.ACTIVE:
            _give_up(plan, revision, reason)
    if not live_revisions(plan):
        note(plan, reason)


def give_up_files(manifest_id: int, error: str) -> None:
    """All tries to bring these files failed: the revisions that wait for them are Failed and say why."""
    reason = f"Its files could not be brought: {error.rstrip('.')}. Deploy it again, or ask an operator."
    for plan in folders.waiting_for(manifest_id):
        for revision in live_revisions(plan):
            waits = revision.state in (RevisionState.PENDING, RevisionState.DEPLOYING)
            if waits and revision.version.manifest_id == manifest_id:
                _give_up(plan, revision, reason)


def look_after() -> int:
    """Compares all that the engines run with all that is wanted; returns how many endpoints need work.

    Endpoints that differ are reconciled by jobs; services that nobody wants are stopped here.
    """
    names = set(_looked_after().values_list("engine", flat=True)) | {""}
    engines = {name or settings.SERVING_ENGINE for name in names}
    return sum(_look_after_engine(name) for name in sorted(engines))


def _look_after_engine(name: str) -> int:
    engine, own = engine_for(name), [name, ""] if name == settings.SERVING_ENGINE else [name]
    try:
        # The engine first: what is wanted was written before its service was started.
        services = _services_of(engine)
    except (EngineAway, EngineRefused) as error:
        for plan in _looked_after().filter(engine__in=own, wanted=Wanted.RUNNING):
            if live_revisions(plan):
                _miss_engine(plan, str(error))
        return 0
    wanted, count = set(), 0
    for plan in _looked_after().filter(engine__in=own):
        live = live_revisions(plan)
        wanted |= {revision.service_id for revision in live}
        for revision in live:
            _count_ready(revision, services.get(revision.service_id))
        if _differs(plan, services):
            look_soon(plan)
            count += 1
    _stop_orphans(engine, services, set(services) - wanted)
    return count


def _count_ready(revision: DeploymentRevision, service: Service | None) -> None:
    """Keeps how many replicas answer, as the engine says."""
    ready = service.ready_replicas if service else 0
    if service and service.state == ServiceState.READY and not service.replicas:
        ready = revision.replicas
    if ready != revision.ready_replicas:
        DeploymentRevision.objects.filter(pk=revision.pk).update(ready_replicas=ready)


def _stop_orphans(engine: Engine, services: Mapping[str, Service], orphans: set[str]) -> None:
    if orphans:
        log.info("Stopping services that nobody wants: %s.", ", ".join(sorted(orphans)))
    try:
        _stop(engine, services, orphans)
    except (EngineAway, EngineRefused) as error:
        log.warning("Services that nobody wants could not be stopped: %s", error)


def _looked_after() -> QuerySet[Deployment]:
    taken_down = Q(wanted=Wanted.STOPPED) & ~Q(state=EndpointState.INACTIVE)
    return Deployment.objects.with_details().filter(Q(wanted=Wanted.RUNNING) | taken_down)


def _differs(plan: Deployment, services: Mapping[str, Service]) -> bool:
    if plan.wanted != Wanted.RUNNING:
        return True
    for revision in live_revisions(plan):
        service = services.get(revision.service_id)
        if service is None or service.state != ServiceState.READY:
            return True
        if (revision.state, revision.address) != (RevisionState.ACTIVE, service.address):
            return True
        if service.unplaced or not _as_many(revision, service):
            return True
    if in_canary(plan) or _sleeper(plan) or plan.away:
        return True
    return standing(plan) != Standing(EndpointState(plan.state), plan.reason)


def _services_of(engine: Engine) -> dict[str, Service]:
    return {service.service_id: service for service in engine.services()}


def _own_services(plan: Deployment) -> set[str]:
    return set(DeploymentRevision.objects.filter(deployment=plan).values_list("service_id", flat=True))


def _worth_restarting(revision: DeploymentRevision) -> bool:
    """A model that answered before may do so again; one that never did will not."""
    again = timedelta(seconds=START_SECONDS)
    return revision.active_at is not None and _since(revision.awaited_at, revision) < again


def _since(moment: datetime | None, revision: DeploymentRevision) -> timedelta:
    return timezone.now() - (moment or revision.started_at or revision.created_at)
