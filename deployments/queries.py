"""Finding endpoints, and what of them is wanted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from accounts.models import Project
from common import sql
from common.errors import Missing
from deployments.choices import EndpointState, RevisionState, Wanted
from deployments.errors import no_endpoint
from deployments.models import Deployment, DeploymentRevision

DOWN = (EndpointState.INACTIVE, EndpointState.FAILED)
# How many of the project's endpoints should run and do not, or not as they should.
TROUBLED_ENDPOINTS = """
    SELECT count(*) FROM deployments_deployment
    WHERE project_id = %(project)s AND wanted = 'Running' AND state IN ('Failed', 'Degraded')
"""
# `live_endpoints` of the model `m`, their names only, as part of a larger statement.
ENDPOINT_NAMES = """
    SELECT d.endpoint_name FROM deployments_deployment d
    WHERE d.model_id = m.id AND d.wanted <> 'Deleted' AND d.state NOT IN ('Inactive', 'Failed')
      AND (d.wanted_revision_id IS NOT NULL OR d.serving_revision_id IS NOT NULL)
"""
# Those of a model, those that are to run first; with a version only those that have or want it.
BESIDE_MODEL = """
    SELECT d.endpoint_name, d.state, coalesce(s.number, w.number), d.updated_at FROM deployments_deployment d
    LEFT JOIN deployments_deploymentrevision sr ON sr.id = d.serving_revision_id
    LEFT JOIN deployments_deploymentrevision wr ON wr.id = d.wanted_revision_id
    LEFT JOIN registry_modelversion s ON s.id = sr.version_id
    LEFT JOIN registry_modelversion w ON w.id = wr.version_id
    WHERE d.model_id = %(model)s AND d.wanted <> 'Deleted'
      AND (%(version)s::bigint IS NULL OR %(version)s IN (sr.version_id, wr.version_id))
    ORDER BY d.wanted, d.endpoint_name LIMIT %(most)s
"""
ENDED = (RevisionState.FAILED, RevisionState.RETIRED)


@dataclass(frozen=True)
class EndpointRow:
    """An endpoint as a row beside its model; `version` is the number that serves, or else is wanted."""

    endpoint_name: str
    state: str
    version: int
    updated_at: datetime


def read_endpoints(model_id: int, most: int, version_id: int | None = None) -> list[EndpointRow]:
    """The first `most` endpoints of a model, or of one version of it."""
    found = sql.rows(BESIDE_MODEL, {"model": model_id, "most": most, "version": version_id})
    return [EndpointRow(*row) for row in found]


def find_deployment(project: Project, endpoint_name: str) -> Deployment:
    """The project's endpoint of this name with its details, or Missing."""
    rows = Deployment.objects.alive().with_details()
    deployment = rows.filter(project=project, endpoint_name=endpoint_name).first()
    if deployment is None:
        raise no_endpoint(project.slug, endpoint_name)
    return deployment


def find_revision(deployment: Deployment, number: int) -> DeploymentRevision:
    """The endpoint's revision of this number, or Missing."""
    revision = deployment.revisions.select_related("version").filter(number=number).first()
    if revision is None:
        raise Missing(
            f"{deployment.endpoint_name} has no revision {number}.",
            "See its revisions for those there are.",
            code="revision_not_found",
        )
    return revision


def live_endpoints(model_ids: Collection[int]) -> dict[int, list[tuple[str, int]]]:
    """For each of these models its endpoints that are not down, as (endpoint name, version id).

    An endpoint that changes from one version to another holds both, and one with a shadow its version too.
    """
    revisions = ("wanted_revision", "serving_revision", "shadow_revision")
    parts = [f"{revision}__{field}" for revision in revisions for field in ("version_id", "state")]
    rows = (
        Deployment.objects.alive()
        .filter(model_id__in=model_ids)
        .exclude(state__in=DOWN)
        .select_related(*revisions)
        .only("model_id", "endpoint_name", *parts)
        .order_by("endpoint_name")
    )
    found: dict[int, list[tuple[str, int]]] = {}
    for row in rows:
        for version_id in dict.fromkeys(revision.version_id for revision in _holding(row)):
            found.setdefault(row.model_id, []).append((row.endpoint_name, version_id))
    return found


def endpoints_holding(version_ids: Collection[int]) -> list[Deployment]:
    """The endpoints that are not down and serve, or are to serve or shadow, one of these versions."""
    rows = Deployment.objects.alive().with_details().filter(wanted=Wanted.RUNNING).order_by("endpoint_name")
    held = [
        Q(**{f"{name}__version__in": version_ids}) & ~Q(**{f"{name}__state__in": ENDED})
        for name in ("serving_revision", "wanted_revision", "shadow_revision")
    ]
    return list(rows.filter(held[0] | held[1] | held[2]))


def _holding(deployment: Deployment) -> list[DeploymentRevision]:
    wanted, serving = deployment.wanted_revision, deployment.serving_revision
    wanted = None if wanted and serving and wanted.state == RevisionState.FAILED else wanted
    shadow = deployment.shadow_revision
    shadow = None if shadow and shadow.state in ENDED else shadow
    return [revision for revision in (serving, wanted, shadow) if revision]


def live_revisions(deployment: Deployment) -> list[DeploymentRevision]:
    """The revisions that must have a running service: what serves, what is to take over, what gets copies."""
    if deployment.wanted != Wanted.RUNNING:
        return []
    revisions = [deployment.serving_revision, deployment.wanted_revision, deployment.shadow_revision]
    found = {
        revision.pk: revision
        for revision in revisions
        if revision and revision.state not in (*ENDED, RevisionState.ASLEEP)
    }
    return list(found.values())


def in_canary(deployment: Deployment) -> bool:
    """Whether the wanted revision has a share of the traffic and not yet all of it."""
    return bool(deployment.canary_percent) and deployment.wanted_revision_id != deployment.serving_revision_id


def is_replacing(deployment: Deployment, revision: DeploymentRevision) -> bool:
    """Whether `revision` is to have the place of what serves, which is to end first."""
    is_next = revision.pk == deployment.wanted_revision_id != deployment.serving_revision_id
    return is_next and bool(revision.rollout.get("replace"))


def gives_way(deployment: Deployment) -> bool:
    """Whether what serves makes room for a revision that is being started and is to have its place."""
    wanted = deployment.wanted_revision
    if wanted is None or not is_replacing(deployment, wanted):
        return False
    return wanted.state in (RevisionState.PENDING, RevisionState.DEPLOYING) and wanted.started_at is not None


@dataclass(frozen=True)
class Standing:
    """How an endpoint stands: its state, and in one sentence why, or ""."""

    state: EndpointState
    reason: str


def standing(deployment: Deployment) -> Standing:
    """What the states of its revisions say about the endpoint as a whole."""
    wanted, serving = deployment.wanted_revision, deployment.serving_revision
    if deployment.wanted != Wanted.RUNNING or wanted is None:
        down = deployment.state == EndpointState.INACTIVE
        return Standing(EndpointState.INACTIVE if down else EndpointState.UNDEPLOYING, "")
    if serving is None:
        return Standing(_first_start(wanted.state), wanted.reason)
    if serving.state == RevisionState.ACTIVE and deployment.away:
        return Standing(EndpointState.DEGRADED, deployment.away)
    if serving.pk == wanted.pk and serving.state == RevisionState.ACTIVE and deployment.failing:
        return Standing(EndpointState.DEGRADED, deployment.failing)
    if serving.pk == wanted.pk:
        return Standing(_alone(deployment, serving.state), serving.reason)
    if wanted.state == RevisionState.FAILED:
        failing = deployment.failing if serving.state == RevisionState.ACTIVE else ""
        return Standing(EndpointState.DEGRADED, f"{failing} {_could_not_take_over(wanted, serving)}".strip())
    share = _share(deployment, wanted) if in_canary(deployment) else ""
    return Standing(EndpointState.UPDATING, serving.reason or wanted.reason or share)


def _alone(deployment: Deployment, state: str) -> EndpointState:
    """The state of an endpoint that has nothing but the serving revision, which is in `state`."""
    if state == RevisionState.ACTIVE:
        return EndpointState.ACTIVE
    if state == RevisionState.ASLEEP:
        return EndpointState.ASLEEP
    return _first_start(state) if deployment.wake_asked_at else EndpointState.DEGRADED


def _share(deployment: Deployment, wanted: DeploymentRevision) -> str:
    count = len(wanted.rollout.get("steps", []))
    step = f"step {wanted.rollout_step + 1} of {count}"
    return f"Version {wanted.version.number} gets {deployment.canary_percent} % of the requests ({step})."


def _first_start(state: str) -> EndpointState:
    known = {RevisionState.PENDING: EndpointState.PENDING, RevisionState.FAILED: EndpointState.FAILED}
    return known.get(RevisionState(state), EndpointState.DEPLOYING)


def _could_not_take_over(wanted: DeploymentRevision, serving: DeploymentRevision) -> str:
    numbers = wanted.version.number, serving.version.number
    who = "The new revision" if numbers[0] == numbers[1] else f"Version {numbers[0]}"
    goes_on = f"Version {numbers[1]} goes on serving" if not serving.reason else serving.reason.rstrip(".")
    if serving.state == RevisionState.ASLEEP and serving.min_replicas:
        goes_on = f"Version {numbers[1]} is being started again"
    return f"{who} could not take over: {wanted.reason} {goes_on}."
