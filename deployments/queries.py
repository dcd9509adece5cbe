"""Finding endpoints, and what of them is wanted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings

from accounts.models import Project
from common.checks import shorten
from common.errors import Missing
from deployments.choices import EndpointState, RevisionState, Wanted
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
ENDED = (RevisionState.FAILED, RevisionState.RETIRED)
BEING_DEPLOYED = (
    EndpointState.PENDING,
    EndpointState.DEPLOYING,
    EndpointState.UPDATING,
    EndpointState.DEGRADED,
    EndpointState.ACTIVE,
)


def find_deployment(project: Project, endpoint_name: str) -> Deployment:
    """The project's endpoint of this name with its details, or Missing."""
    rows = Deployment.objects.alive().with_details()
    deployment = rows.filter(project=project, endpoint_name=endpoint_name).first()
    if deployment is None:
        raise no_endpoint(project, endpoint_name)
    return deployment


def no_endpoint(project: Project, endpoint_name: str) -> Missing:
    """The error that says so."""
    return Missing(
        f"There is no endpoint {shorten(endpoint_name)} in {project.slug}.",
        "Deploy a version to it first, or check the name.",
        code="deployment_not_found",
    )


def live_endpoints(model_ids: Collection[int]) -> dict[int, list[tuple[str, int]]]:
    """For each of these models its endpoints that are not down, as (endpoint name, version id).

    An endpoint that changes from one version to another holds both.
    """
    rows = (
        Deployment.objects.alive()
        .filter(model_id__in=model_ids)
        .exclude(state__in=DOWN)
        .select_related("wanted_revision", "serving_revision")
        .order_by("endpoint_name")
    )
    found: dict[int, list[tuple[str, int]]] = {}
    for row in rows:
        for version_id in dict.fromkeys(revision.version_id for revision in _holding(row)):
            found.setdefault(row.model_id, []).append((row.endpoint_name, version_id))
    return found


def _holding(deployment: Deployment) -> list[DeploymentRevision]:
    wanted, serving = deployment.wanted_revision, deployment.serving_revision
    wanted = None if wanted and serving and wanted.state == RevisionState.FAILED else wanted
    return [revision for revision in (serving, wanted) if revision]


def live_revisions(deployment: Deployment) -> list[DeploymentRevision]:
    """The revisions that must have a running service: what serves, and what is to take over."""
    if deployment.wanted != Wanted.RUNNING:
        return []
    revisions = [deployment.serving_revision, deployment.wanted_revision]
    found = {
        revision.pk: revision
        for revision in revisions
        if revision and revision.state not in ENDED and not waits_for_gpu(revision)
    }
    return list(found.values())


def waits_for_gpu(revision: DeploymentRevision) -> bool:
    """Whether a revision stays Pending because nothing here has the GPU that it asks for."""
    return bool(revision.gpu_type) and settings.NO_GPU == "wait"


def find_route(project_slug: str, endpoint_name: str) -> Deployment | None:
    """The endpoint that an address names, with project, model and serving version, in one query."""
    rows = Deployment.objects.alive().select_related("project", "model", "serving_revision__version")
    return rows.filter(project__slug=project_slug, endpoint_name=endpoint_name).first()


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
    if serving.pk == wanted.pk:
        healthy = serving.state == RevisionState.ACTIVE
        return Standing(EndpointState.ACTIVE if healthy else EndpointState.DEGRADED, serving.reason)
    if wanted.state == RevisionState.FAILED:
        return Standing(EndpointState.DEGRADED, _could_not_take_over(wanted, serving))
    return Standing(EndpointState.UPDATING, serving.reason or wanted.reason)


def _first_start(state: str) -> EndpointState:
    known = {RevisionState.PENDING: EndpointState.PENDING, RevisionState.FAILED: EndpointState.FAILED}
    return known.get(RevisionState(state), EndpointState.DEPLOYING)


def _could_not_take_over(wanted: DeploymentRevision, serving: DeploymentRevision) -> str:
    numbers = wanted.version.number, serving.version.number
    who = "The new revision" if numbers[0] == numbers[1] else f"Version {numbers[0]}"
    goes_on = f"Version {numbers[1]} goes on serving" if not serving.reason else serving.reason.rstrip(".")
    return f"{who} could not take over: {wanted.reason} {goes_on}."
