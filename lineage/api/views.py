"""The REST door of lineage."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from common.api.filters import only
from common.checks import shorten
from common.errors import Invalid
from lineage import services
from lineage.api import serializers as s
from lineage.events import run_events
from lineage.graph import (
    DIRECTIONS,
    MOST_DEPTH,
    MOST_NODES,
    USUAL_DEPTH,
    USUAL_NODES,
    Lineage,
    Thing,
    lineage_of,
)
from lineage.impact import impact_of
from lineage.recipes import recipe_of
from lineage.things import FORMS, find_things
from registry.queries import find_model, find_version

NODE = OpenApiParameter("node", str, required=True, description=FORMS)
LIMITS = [
    OpenApiParameter("direction", str, enum=list(DIRECTIONS), default="both"),
    OpenApiParameter(
        "depth",
        {"type": "integer", "minimum": 1, "maximum": MOST_DEPTH, "default": USUAL_DEPTH},
        description="edges away, at most",
    ),
    OpenApiParameter(
        "nodes", {"type": "integer", "minimum": 1, "maximum": MOST_NODES, "default": USUAL_NODES}
    ),
]


class GraphView(ProjectView):
    """What the views of a graph share."""

    def graph(self, things: list[Thing]) -> Lineage:
        return lineage_of(
            self.project,
            things,
            self.request.query_params.get("direction", "both"),
            self._whole("depth", USUAL_DEPTH),
            self._whole("nodes", USUAL_NODES),
        )

    def _whole(self, name: str, usual: int) -> int:
        text = self.request.query_params.get(name, "")
        if not text:
            return usual
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise Invalid.field(name, f"{name} is {shorten(text)}; it must be a whole number.")
        return int(text)

    def things(self) -> list[Thing]:
        return find_things(self.project, self.request.query_params.get("node", ""))

    def answer(self, graph: Lineage) -> Response:
        return Response(s.LineageSerializer(graph, context={"project": self.project.slug}).data)


class LineageView(GraphView):
    @extend_schema(
        operation_id="get_lineage",
        summary="What led to a thing, and what came of it",
        parameters=[NODE, *LIMITS],
        responses=s.LineageSerializer,
    )
    def get(self, request: Request, project: str) -> Response:
        only(request, ("node", "direction", "depth", "nodes"))
        return self.answer(self.graph(self.things()))


class VersionLineageView(GraphView):
    @extend_schema(
        operation_id="get_version_lineage",
        summary="Where a version came from, and what depends on it",
        parameters=LIMITS,
        responses=s.LineageSerializer,
    )
    def get(self, request: Request, project: str, name: str, ref: str) -> Response:
        only(request, ("direction", "depth", "nodes"))
        version = find_version(find_model(self.project, name), ref)
        return self.answer(self.graph([("version", version.pk)]))


class EventsView(GraphView):
    @extend_schema(
        operation_id="get_lineage_events",
        summary="The runs of a graph as OpenLineage events",
        parameters=[NODE, *LIMITS],
        responses=s.EventsSerializer,
    )
    def get(self, request: Request, project: str) -> Response:
        only(request, ("node", "direction", "depth", "nodes"))
        return Response({"events": run_events(self.project, self.graph(self.things()))})


class ImpactView(GraphView):
    @extend_schema(
        operation_id="get_impact",
        summary="What depends on a thing",
        parameters=[NODE],
        responses=s.ImpactSerializer,
    )
    def get(self, request: Request, project: str) -> Response:
        only(request, ("node",))
        found = impact_of(self.project, self.things())
        return Response(s.ImpactSerializer(found, context={"project": self.project.slug}).data)


class ActView(ProjectView):
    """Acts on everything that depends on a thing."""

    def about(self, serializer: Any) -> dict[str, Any]:
        return {"actor": self.actor, "project": self.project, **self.data(serializer)}


class NotifyView(ActView):
    @extend_schema(
        operation_id="notify_owners",
        summary="Tell the owners of what depends on a thing",
        request=s.NotifyInput,
        responses=s.NotifiedSerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        return Response({"notified": services.notify_owners(**self.about(s.NotifyInput))})


class QuarantineView(ActView):
    @extend_schema(
        operation_id="quarantine_impact",
        summary="Quarantine every version that depends on a thing",
        request=s.QuarantineImpactInput,
        responses=s.QuarantineSerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        found = services.quarantine_impact(**self.about(s.QuarantineImpactInput))
        return Response(s.QuarantineSerializer(found).data)


class ReleaseView(ActView):
    @extend_schema(
        operation_id="release_impact",
        summary="Release what was quarantined because of a thing",
        request=s.NodeInput,
        responses=s.QuarantineSerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        found = services.release_impact(**self.about(s.NodeInput))
        return Response(s.QuarantineSerializer(found).data)


class RecipeView(ProjectView):
    @extend_schema(
        operation_id="get_recipe",
        summary="What is needed to make a version again",
        responses=s.RecipeSerializer,
    )
    def get(self, request: Request, project: str, name: str, ref: str) -> Response:
        version = find_version(find_model(self.project, name), ref)
        return Response(s.RecipeSerializer(recipe_of(self.project, version)).data)
