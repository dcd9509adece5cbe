"""The REST door to invitations."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invitations
from accounts.api.base import ProjectView
from accounts.choices import Right, Role


class InvitationSerializer(serializers.Serializer):
    """Somebody who was asked by e-mail to join, and has not yet."""

    id = serializers.IntegerField()
    email = serializers.CharField()
    role = serializers.ChoiceField(choices=Role.choices)
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class InvitationInput(serializers.Serializer):
    email = serializers.CharField(max_length=254)
    role = serializers.ChoiceField(choices=Role.choices)


class InvitationsView(ProjectView):
    right = Right.ADMIN

    @extend_schema(
        operation_id="list_invitations",
        summary="Who was invited and has not joined yet",
        responses=InvitationSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        return self.page(invitations.invitations_of(self.project), InvitationSerializer)

    @extend_schema(
        operation_id="invite_member",
        summary="Send a link by which somebody joins, good for a week",
        request=InvitationInput,
        responses={201: InvitationSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        made = invitations.invite(actor=self.actor, project=self.project, **self.data(InvitationInput))
        return Response(InvitationSerializer(made).data, status=201)


class InvitationView(ProjectView):
    right = Right.ADMIN

    @extend_schema(operation_id="revoke_invitation", summary="Withdraw an invitation", responses={204: None})
    def delete(self, request: Request, project: str, invitation_id: int) -> Response:
        invitations.revoke_invitation(actor=self.actor, project=self.project, invitation_id=invitation_id)
        return Response(status=204)
