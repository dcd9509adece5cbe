"""The REST door of accounts."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import services, trail
from accounts.api.base import ApiView, ProjectView
from accounts.api.serializers import (
    AuditSerializer,
    MemberInput,
    MemberSerializer,
    MeSerializer,
    NewTokenSerializer,
    TokenInput,
    TokenSerializer,
)
from accounts.choices import Door, Right
from accounts.filters import AuditFilter
from accounts.models import ApiToken, AuditEntry, Membership
from common.api.filters import filtered
from common.version import VERSION

CONTENT_TYPES = {trail.CSV: "text/csv", trail.JSON_LINES: "application/x-ndjson"}
AUDIT_PARAMETERS = [
    OpenApiParameter("actor", str, description="a user's name"),
    OpenApiParameter("verb", str, description="what was done, such as transition_stage"),
    OpenApiParameter("object_type", str, description="to what kind of thing, such as version"),
    OpenApiParameter("object_id", str, description="to which one, such as iris/3"),
    OpenApiParameter("door", str, enum=Door.values),
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="not before"),
    OpenApiParameter("until", OpenApiTypes.DATETIME, description="before"),
]


class MeView(ApiView):
    @extend_schema(operation_id="me", summary="Who this token is", responses=MeSerializer)
    def get(self, request: Request) -> Response:
        token = self.actor.token
        memberships = Membership.objects.filter(user=self.actor.user).select_related("project")
        if token is not None and token.project_id is not None:
            memberships = memberships.filter(project=token.project_id)
        me = {
            "user": self.actor.user,
            "token": token,
            "projects": memberships.order_by("project__slug"),
            "server": {"version": VERSION},
        }
        return Response(MeSerializer(me).data)


class TokensView(ProjectView):
    """The actor's own tokens for this project."""

    shown_once = "token"

    def _mine(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.filter(user=self.actor.user, project=self.project).select_related("project")

    @extend_schema(operation_id="list_tokens", summary="List my tokens", responses=TokenSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        return self.page(self._mine(), TokenSerializer)

    @extend_schema(
        operation_id="create_token",
        summary="Make a token",
        request=TokenInput,
        responses={201: NewTokenSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        token, text = services.create_token(actor=self.actor, project=self.project, **self.data(TokenInput))
        token.token = text  # type: ignore[attr-defined]
        return Response(NewTokenSerializer(token).data, status=201)


class TokenView(ProjectView):
    @extend_schema(operation_id="revoke_token", summary="Revoke a token", responses={204: None})
    def delete(self, request: Request, project: str, prefix: str) -> Response:
        services.revoke_token(actor=self.actor, prefix=prefix)
        return Response(status=204)


class MembersView(ProjectView):
    @extend_schema(operation_id="list_members", summary="List members", responses=MemberSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        return self.page(
            Membership.objects.filter(project=self.project).select_related("user"), MemberSerializer
        )


class MemberView(ProjectView):
    @extend_schema(
        operation_id="set_member",
        summary="Add a member or change a role",
        request=MemberInput,
        responses=MemberSerializer,
    )
    def put(self, request: Request, project: str, username: str) -> Response:
        membership = services.set_member(
            actor=self.actor, project=self.project, username=username, **self.data(MemberInput)
        )
        return Response(MemberSerializer(membership).data)

    @extend_schema(operation_id="remove_member", summary="Remove a member", responses={204: None})
    def delete(self, request: Request, project: str, username: str) -> Response:
        services.remove_member(actor=self.actor, project=self.project, username=username)
        return Response(status=204)


class AuditView(ProjectView):
    right = Right.MAINTAIN

    @extend_schema(
        operation_id="list_audit",
        summary="Read the audit trail",
        parameters=AUDIT_PARAMETERS,
        responses=AuditSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        return self.page(trail.trail_of(self.project), AuditSerializer, filters=AuditFilter)


class ExportAuditView(ProjectView):
    right = Right.MAINTAIN

    @extend_schema(
        operation_id="export_audit",
        summary="The audit trail as a file: CSV, or a JSON object a line; newest first",
        parameters=[
            OpenApiParameter("format", str, required=True, enum=list(trail.FORMATS)),
            *AUDIT_PARAMETERS,
        ],
        responses={(200, kind): OpenApiTypes.BINARY for kind in CONTENT_TYPES.values()},
    )
    def get(self, request: Request, project: str) -> HttpResponseBase:
        rows = filtered(AuditFilter, trail.trail_of(self.project), request, self.project, ("format",))
        kind = trail.check_format(request.query_params.get("format"))
        return trail_file(rows, kind, project)


def trail_file(rows: QuerySet[AuditEntry], kind: str, project: str) -> HttpResponseBase:
    """The trail as a download that is written while it is read."""
    content_type = f"{CONTENT_TYPES[kind]}; charset=utf-8"
    answer = StreamingHttpResponse(trail.exported(rows, kind), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{project}-audit.{kind}"'
    return answer
