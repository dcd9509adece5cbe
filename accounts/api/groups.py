"""The REST door to a project's groups."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import groups
from accounts.api.base import ProjectView
from accounts.models import ProjectGroup


class GroupSerializer(serializers.Serializer):
    """A group of members; policies and protections name it."""

    name = serializers.CharField()
    members = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    def get_members(self, row: ProjectGroup) -> list[str]:
        return [person.username for person in row.people]


class GroupInput(serializers.Serializer):
    members = serializers.ListField(
        child=serializers.CharField(max_length=150), max_length=groups.MOST_MEMBERS
    )


class GroupsView(ProjectView):
    @extend_schema(
        operation_id="list_groups",
        summary="Groups of the project's members",
        responses=GroupSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        return self.page(groups.groups_of(self.project), GroupSerializer)


class GroupView(ProjectView):
    @extend_schema(
        operation_id="set_group",
        summary="Make a group, or say anew who is in it",
        request=GroupInput,
        responses=GroupSerializer,
    )
    def put(self, request: Request, project: str, name: str) -> Response:
        row = groups.set_group(actor=self.actor, project=self.project, name=name, **self.data(GroupInput))
        return Response(GroupSerializer(row).data)

    @extend_schema(
        operation_id="delete_group", summary="Delete a group that nothing names", responses={204: None}
    )
    def delete(self, request: Request, project: str, name: str) -> Response:
        groups.delete_group(actor=self.actor, project=self.project, name=name)
        return Response(status=204)
