"""The REST door to what people are told."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import notifications
from accounts.api.base import ProjectView
from accounts.choices import Notice
from accounts.filters import NotificationFilter


class NotificationSerializer(serializers.Serializer):
    """What the person behind the token was told. `path`: the portal's page to look at."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Notice.choices)
    text = serializers.CharField()
    path = serializers.CharField()
    created_at = serializers.DateTimeField()
    read_at = serializers.DateTimeField(allow_null=True)


class ReadInput(serializers.Serializer):
    ids = serializers.ListField(
        required=False,
        allow_null=True,
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        help_text="all, when left out",
    )


class ReadSerializer(serializers.Serializer):
    marked = serializers.IntegerField(help_text="how many were unread before")


class ChoiceInput(serializers.Serializer):
    kind = serializers.CharField(max_length=32)
    inbox = serializers.BooleanField(required=False)
    email = serializers.BooleanField(required=False)


class ChoiceSerializer(serializers.Serializer):
    """Where one kind of notice reaches the person, in all projects."""

    kind = serializers.ChoiceField(choices=Notice.choices)
    label = serializers.CharField()  # type: ignore[assignment]
    inbox = serializers.BooleanField()
    email = serializers.BooleanField()


class ChoicesSerializer(serializers.Serializer):
    results = ChoiceSerializer(many=True)


class NotificationsView(ProjectView):
    @extend_schema(
        operation_id="list_notifications",
        summary="What I was told in this project, newest first",
        parameters=[
            OpenApiParameter("unread", str, enum=["true", "false"]),
            OpenApiParameter("kind", str, enum=Notice.values),
        ],
        responses=NotificationSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        rows = notifications.inbox_of(self.actor.user, self.project)
        return self.page(rows, NotificationSerializer, filters=NotificationFilter)


class ReadNotificationsView(ProjectView):
    @extend_schema(
        operation_id="read_notifications",
        summary="Mark mine as read",
        request=ReadInput,
        responses=ReadSerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        marked = notifications.mark_read(actor=self.actor, project=self.project, **self.data(ReadInput))
        return Response({"marked": marked})


class NotificationChoicesView(ProjectView):
    @extend_schema(
        operation_id="get_notification_choices",
        summary="Where each kind of notice reaches me",
        responses=ChoicesSerializer,
    )
    def get(self, request: Request, project: str) -> Response:
        return Response(ChoicesSerializer({"results": notifications.choices_of(self.actor.user)}).data)

    @extend_schema(
        operation_id="set_notification_choice",
        summary="Choose where one kind of notice reaches me",
        request=ChoiceInput,
        responses=ChoicesSerializer,
    )
    def patch(self, request: Request, project: str) -> Response:
        found = notifications.set_notification_choice(
            actor=self.actor, project=self.project, **self.data(ChoiceInput)
        )
        return Response(ChoicesSerializer({"results": found}).data)
