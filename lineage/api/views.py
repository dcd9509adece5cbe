"""The REST door of lineage."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from lineage.api.serializers import LineageSerializer
from lineage.queries import version_lineage
from registry.queries import find_model, find_version


class LineageView(ProjectView):
    @extend_schema(
        operation_id="get_lineage",
        summary="Where a version came from, and what depends on it",
        responses=LineageSerializer,
    )
    def get(self, request: Request, project: str, name: str, ref: str) -> Response:
        version = find_version(find_model(self.project, name), ref)
        context = {"project": self.project.slug}
        return Response(LineageSerializer(version_lineage(version), context=context).data)
