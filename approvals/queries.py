"""Finding requests, and what their pages show."""

from __future__ import annotations

from accounts.models import Project
from approvals.models import ApprovalRequest
from common.checks import shorten
from common.errors import Missing
from registry.choices import Stage
from registry.models import ModelVersion
from registry.queries import Comparison, compare_versions


def find_request(project: Project, request_id: str) -> ApprovalRequest:
    """The project's request of this id, with its details, or Missing."""
    rows = ApprovalRequest.objects.with_details().filter(project=project)
    request = rows.filter(public_id=request_id).first() if "\0" not in request_id else None
    if request is None:
        raise Missing(
            f"There is no approval request {shorten(request_id)} in {project.slug}.",
            code="approval_not_found",
        )
    request.project = project
    return request


def side_by_side(request: ApprovalRequest) -> tuple[ModelVersion | None, Comparison | None]:
    """The version beside the one that stands in Production, which comes first; None where there is none."""
    rows = ModelVersion.objects.with_details().alive().filter(model=request.version.model_id)
    standing = rows.filter(stage=Stage.PRODUCTION).exclude(pk=request.version_id)
    champion = standing.order_by("-number").first()
    version = rows.filter(pk=request.version_id).first()
    if champion is None or version is None:
        return champion, None
    return champion, compare_versions([champion, version])
