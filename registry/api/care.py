"""The REST door to what keeps a registry in order: the trash, protections, and how things stood at a moment."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from accounts.choices import Right
from common.api.filters import only
from common.api.text import JsonText
from registry import protections, services, trash
from registry.api import serializers as s
from registry.api.views import RegistryView
from registry.standing import moment_of, standing_at


class StandingView(RegistryView):
    @extend_schema(
        operation_id="get_standing",
        summary="A model's stages and aliases as they were at a moment",
        parameters=[OpenApiParameter("as_of", OpenApiTypes.DATETIME, description="now, when left out")],
        responses=s.StandingSerializer,
    )
    def get(self, request: Request, project: str, name: str) -> Response:
        only(request, ("as_of",))
        moment = moment_of(request.query_params.get("as_of"))
        return Response(s.StandingSerializer(standing_at(self.model, moment)).data)


class ValidationMetricsView(RegistryView):
    @extend_schema(
        operation_id="log_validation_metrics",
        summary="Keep what validating a version found",
        request=s.ValidationInput,
        responses=s.VersionSerializer,
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> JsonText:
        version = services.log_validation_metrics(**self.where, **self.data(s.ValidationInput))
        return self.version_answer(version.pk)


class TrashView(ProjectView):
    right = Right.MAINTAIN

    @extend_schema(
        operation_id="list_trash", summary="Deleted models and versions", responses=s.TrashSerializer
    )
    def get(self, request: Request, project: str) -> Response:
        found = trash.list_trash(actor=self.actor, project=self.project)
        return Response(s.TrashSerializer({"results": found}).data)


class RestoreModelView(RegistryView):
    @extend_schema(
        operation_id="restore_model",
        summary="Bring a deleted model back with its versions",
        request=s.RestoreModelInput,
        responses=s.ModelSerializer,
    )
    def post(self, request: Request, project: str, name: str) -> JsonText:
        data = self.data(s.RestoreModelInput)
        model = trash.restore_model(actor=self.actor, project=self.project, name=name, **data)
        return self.model_answer(model.name)


class RestoreVersionView(RegistryView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="restore_version",
        summary="Bring a deleted version back",
        request=None,
        responses=s.VersionSerializer,
    )
    def post(self, request: Request, project: str, name: str, number: int) -> JsonText:
        version = trash.restore_version(
            actor=self.actor, project=self.project, model_name=name, number=number
        )
        return self.version_answer(version.pk)


class ProtectionsView(ProjectView):
    @extend_schema(
        operation_id="list_protections",
        summary="Protected aliases and stages",
        responses=s.ProtectionSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        return self.page(protections.protections_of(self.project), s.ProtectionSerializer, ("id",))

    @extend_schema(
        operation_id="protect",
        summary="Let only some roles and groups move an alias or a stage",
        request=s.ProtectionInput,
        responses={201: s.ProtectionSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        row = protections.protect(actor=self.actor, project=self.project, **self.data(s.ProtectionInput))
        found = protections.protections_of(self.project).get(pk=row.pk)
        return Response(s.ProtectionSerializer(found).data, status=201)


class ProtectionView(ProjectView):
    @extend_schema(operation_id="unprotect", summary="Take a protection away", responses={204: None})
    def delete(self, request: Request, project: str, protection_id: int) -> Response:
        protections.unprotect(actor=self.actor, project=self.project, protection_id=protection_id)
        return Response(status=204)
