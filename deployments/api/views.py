"""The REST door of endpoints."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from common.api.filters import only, ordering_of
from common.api.text import JsonText
from common.checks import shorten
from common.errors import Invalid
from deployments import quarantine, rollouts, services
from deployments.api import serializers as s
from deployments.filters import DeploymentFilter
from deployments.models import Deployment, DeploymentEvent
from deployments.queries import find_deployment
from deployments.traffic import metrics_of
from registry.api.serializers import VersionSerializer
from registry.api.views import RegistryView

FILTERS = [
    OpenApiParameter("search", str, description="text in endpoint, model or description"),
    OpenApiParameter("model", str, description="the model's name"),
    OpenApiParameter("state", str, description="the endpoint's state"),
    OpenApiParameter("follows", str, description="the alias that it follows"),
    OpenApiParameter("engine", str, description="the engine that runs it: local or ray"),
    OpenApiParameter(
        "ordering", str, description="endpoint_name, created_at, updated_at; with - the other way"
    ),
]


def answer(deployment: Deployment, status: int = 200) -> Response:
    return Response(s.DeploymentSerializer(deployment).data, status=status)


class DeploymentsView(ProjectView):
    @extend_schema(
        operation_id="list_deployments",
        summary="List and search endpoints",
        parameters=FILTERS,
        responses=s.DeploymentSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        rows = Deployment.objects.alive().with_details().filter(project=self.project)
        ordering = ordering_of(request, ("endpoint_name", "created_at", "updated_at"), "-updated_at")
        return self.page(rows, s.DeploymentSerializer, ordering, filters=DeploymentFilter, also=("ordering",))

    @extend_schema(
        operation_id="deploy",
        summary="Deploy a version to a new endpoint (201), or to one of the same model (200)",
        request=s.DeploymentInput,
        responses={200: s.DeploymentSerializer, 201: s.DeploymentSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        deployment = services.deploy(actor=self.actor, project=self.project, **self.data(s.DeploymentInput))
        return answer(deployment, 201 if deployment.is_new else 200)


class EndpointView(ProjectView):
    """A view of one endpoint."""

    @property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that each verb on an endpoint takes."""
        return {"actor": self.actor, "project": self.project, "endpoint_name": self.kwargs["endpoint"]}


class DeploymentView(EndpointView):
    @extend_schema(
        operation_id="get_deployment", summary="Read an endpoint", responses=s.DeploymentSerializer
    )
    def get(self, request: Request, project: str, endpoint: str) -> Response:
        return answer(find_deployment(self.project, endpoint))

    @extend_schema(
        operation_id="update_deployment",
        summary="Change an endpoint's version or settings: makes the next revision",
        request=s.DeploymentChange,
        responses=s.DeploymentSerializer,
    )
    def patch(self, request: Request, project: str, endpoint: str) -> Response:
        changes = self.data(s.DeploymentChange, partial=True)
        return answer(services.update_deployment(**self.where, **changes))

    @extend_schema(
        operation_id="delete_deployment",
        summary="Delete an Inactive or Failed endpoint",
        responses={204: None},
    )
    def delete(self, request: Request, project: str, endpoint: str) -> Response:
        services.delete_deployment(**self.where)
        return Response(status=204)


class UndeployView(EndpointView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="undeploy",
        summary="Take an endpoint down",
        request=None,
        responses=s.DeploymentSerializer,
    )
    def post(self, request: Request, project: str, endpoint: str) -> Response:
        return answer(services.undeploy(**self.where))


class DeployAgainView(EndpointView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="deploy_again",
        summary="Start an endpoint that is down or failed, as it was",
        request=None,
        responses=s.DeploymentSerializer,
    )
    def post(self, request: Request, project: str, endpoint: str) -> Response:
        return answer(services.deploy_again(**self.where))


class RollbackView(EndpointView):
    @extend_schema(
        operation_id="rollback_deployment",
        summary="Go back to an earlier revision, at once",
        request=s.DeploymentRollbackInput,
        responses=s.DeploymentSerializer,
    )
    def post(self, request: Request, project: str, endpoint: str) -> Response:
        return answer(rollouts.rollback_deployment(**self.where, **self.data(s.DeploymentRollbackInput)))


class PromoteView(EndpointView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="promote_rollout",
        summary="Move all traffic to the canary now",
        request=None,
        responses=s.DeploymentSerializer,
    )
    def post(self, request: Request, project: str, endpoint: str) -> Response:
        return answer(rollouts.promote_rollout(**self.where))


class AbortView(EndpointView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="abort_rollout",
        summary="Give up the change that is on its way; what serves goes on",
        request=None,
        responses=s.DeploymentSerializer,
    )
    def post(self, request: Request, project: str, endpoint: str) -> Response:
        return answer(rollouts.abort_rollout(**self.where))


class ShadowView(EndpointView):
    @extend_schema(
        operation_id="set_shadow",
        summary="Send copies of all requests to a version, whose answers are compared and never given",
        request=s.ShadowInput,
        responses=s.DeploymentSerializer,
    )
    def put(self, request: Request, project: str, endpoint: str) -> Response:
        return answer(rollouts.set_shadow(**self.where, **self.data(s.ShadowInput)))

    @extend_schema(
        operation_id="unset_shadow",
        summary="End the copies to a shadow version",
        request=None,
        responses={200: s.DeploymentSerializer},
    )
    def delete(self, request: Request, project: str, endpoint: str) -> Response:
        return answer(rollouts.unset_shadow(**self.where))


class RevisionsView(EndpointView):
    @extend_schema(
        operation_id="list_deployment_revisions",
        summary="The revisions of an endpoint, newest first",
        responses=s.RevisionSerializer(many=True),
    )
    def get(self, request: Request, project: str, endpoint: str) -> Response:
        rows = find_deployment(self.project, endpoint).revisions.select_related("version", "created_by")
        return self.page(rows, s.RevisionSerializer)


class MetricsView(EndpointView):
    @extend_schema(
        operation_id="get_deployment_metrics",
        summary="Requests, errors, latencies and replicas of an endpoint",
        parameters=[OpenApiParameter("hours", int, description="the last hours, 1 to 168; 1 when left out")],
        responses=s.DeploymentMetricsSerializer,
    )
    def get(self, request: Request, project: str, endpoint: str) -> Response:
        only(request, ("hours",))
        hours = _whole(request, "hours", "1", "168")
        found = metrics_of(find_deployment(self.project, endpoint), hours)
        return Response(s.DeploymentMetricsSerializer(found).data)


class GpuTypesView(ProjectView):
    @extend_schema(
        operation_id="list_gpu_types",
        summary="GPU types that a deployment may ask for",
        parameters=[
            OpenApiParameter("engine", str, description="local or ray; the default engine if left out")
        ],
        responses=s.GpuTypesSerializer,
    )
    def get(self, request: Request, project: str) -> Response:
        only(request, ("engine",))
        found = services.gpu_types(request.query_params.get("engine", ""))
        return Response(s.GpuTypesSerializer({"results": found}).data)


class EventsView(EndpointView):
    @extend_schema(
        operation_id="list_deployment_events",
        summary="What happened to an endpoint, newest first",
        responses=s.EventSerializer(many=True),
    )
    def get(self, request: Request, project: str, endpoint: str) -> Response:
        deployment = find_deployment(self.project, endpoint)
        rows = DeploymentEvent.objects.filter(deployment=deployment).select_related("revision")
        return self.page(rows, s.EventSerializer)


class LogsView(EndpointView):
    @extend_schema(
        operation_id="read_deployment_logs",
        summary="The last lines of an endpoint's log",
        parameters=[
            OpenApiParameter("tail", int, description="how many lines, 1 to 10000; 200 when left out"),
            OpenApiParameter("replica", str, description="lines of one replica only"),
            OpenApiParameter("search", str, description="lines with this text only, in any case"),
            OpenApiParameter(
                "revision", int, description="an earlier revision's lines, as far as they are kept"
            ),
        ],
        responses=s.LogsSerializer,
    )
    def get(self, request: Request, project: str, endpoint: str) -> Response:
        only(request, ("tail", "replica", "search", "revision"))
        asked = request.query_params
        lines = services.read_logs(
            **self.where,
            tail=_whole(request, "tail", "200", "10000"),
            replica=asked.get("replica", "")[:100],
            search=asked.get("search", ""),
            revision=_whole(request, "revision", "", "999999999") if asked.get("revision") else None,
        )
        return Response(s.LogsSerializer({"lines": lines}).data)


def _whole(request: Request, name: str, otherwise: str, most: str) -> int:
    text = request.query_params.get(name, otherwise)
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Invalid.field(name, f"{name} is {shorten(text)}; it must be a whole number from 1 to {most}.")
    return int(text)


class QuarantineView(RegistryView):
    @extend_schema(
        operation_id="quarantine_version",
        summary="Quarantine a Ready version: neither promoted nor newly deployed until it is released",
        request=s.QuarantineInput,
        responses=VersionSerializer,
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> JsonText:
        version = quarantine.quarantine_version(**self.where, **self.data(s.QuarantineInput))
        return self.version_answer(version.pk)
