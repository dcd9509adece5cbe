"""The REST door to webhooks."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import webhooks
from accounts.api.base import ProjectView
from accounts.choices import DeliveryState, HookFormat, Right
from accounts.filters import DeliveryFilter
from accounts.models import WebhookDelivery


class WebhookSerializer(serializers.Serializer):
    """An address that is told of what happens in the project."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())
    format = serializers.ChoiceField(choices=HookFormat.choices)
    is_active = serializers.BooleanField()
    off_reason = serializers.CharField()
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class NewWebhookSerializer(WebhookSerializer):
    """The same with the secret that signs, this once."""

    secret = serializers.CharField()


class WebhookInput(serializers.Serializer):
    name = serializers.CharField(max_length=120)
    url = serializers.CharField(max_length=2000)
    events = serializers.ListField(
        required=False,
        child=serializers.CharField(max_length=100),
        help_text="such as version.transition_stage or approval.*; all that concern models, approvals, schedules "
        "and endpoints when left out",
    )
    format = serializers.ChoiceField(required=False, choices=HookFormat.choices)


class WebhookChange(WebhookInput):
    is_active = serializers.BooleanField(required=False)


class DeliverySerializer(serializers.Serializer):
    """One event for one webhook, and what became of its last attempt."""

    message_id = serializers.CharField()
    event = serializers.CharField()
    payload = serializers.JSONField()
    state = serializers.ChoiceField(choices=DeliveryState.choices)
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    tried_at = serializers.DateTimeField(allow_null=True)
    request = serializers.CharField(help_text="headers and body as they were sent")
    status = serializers.IntegerField(allow_null=True)
    response = serializers.CharField(help_text="at most 2,000 characters of the answer")
    error = serializers.CharField()
    duration_ms = serializers.IntegerField(allow_null=True)


class WebhooksView(ProjectView):
    right = Right.MAINTAIN
    shown_once = "secret"

    @extend_schema(
        operation_id="list_webhooks", summary="Webhooks by name", responses=WebhookSerializer(many=True)
    )
    def get(self, request: Request, project: str) -> Response:
        return self.page(webhooks.webhooks_of(self.project), WebhookSerializer)

    @extend_schema(
        operation_id="create_webhook",
        summary="Have an address told of what happens; its secret is shown this once",
        request=WebhookInput,
        responses={201: NewWebhookSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        hook = webhooks.create_webhook(actor=self.actor, project=self.project, **self.data(WebhookInput))
        return Response(NewWebhookSerializer(hook).data, status=201)


class WebhookView(ProjectView):
    right = Right.MAINTAIN

    @property
    def where(self) -> dict[str, Any]:
        return {"actor": self.actor, "project": self.project, "webhook_id": self.kwargs["webhook"]}


class OneWebhookView(WebhookView):
    @extend_schema(operation_id="get_webhook", summary="Read a webhook", responses=WebhookSerializer)
    def get(self, request: Request, project: str, webhook: str) -> Response:
        return Response(WebhookSerializer(webhooks.find_webhook(self.project, webhook)).data)

    @extend_schema(
        operation_id="update_webhook",
        summary="Change a webhook, or switch it on or off",
        request=WebhookChange,
        responses=WebhookSerializer,
    )
    def patch(self, request: Request, project: str, webhook: str) -> Response:
        hook = webhooks.update_webhook(**self.where, **self.data(WebhookChange, partial=True))
        return Response(WebhookSerializer(hook).data)

    @extend_schema(operation_id="delete_webhook", summary="Remove a webhook", responses={204: None})
    def delete(self, request: Request, project: str, webhook: str) -> Response:
        webhooks.delete_webhook(**self.where)
        return Response(status=204)


class PingView(WebhookView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="ping_webhook",
        summary="Send it an event to try it out",
        request=None,
        responses={201: DeliverySerializer},
    )
    def post(self, request: Request, project: str, webhook: str) -> Response:
        return Response(DeliverySerializer(webhooks.ping_webhook(**self.where)).data, status=201)


class DeliveriesView(WebhookView):
    @extend_schema(
        operation_id="list_webhook_deliveries",
        summary="What a webhook was told, newest first",
        parameters=[
            OpenApiParameter("state", str, enum=DeliveryState.values),
            OpenApiParameter("event", str),
        ],
        responses=DeliverySerializer(many=True),
    )
    def get(self, request: Request, project: str, webhook: str) -> Response:
        rows = WebhookDelivery.objects.filter(webhook=webhooks.find_webhook(self.project, webhook))
        return self.page(rows, DeliverySerializer, filters=DeliveryFilter)


class RedeliverView(WebhookView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="redeliver",
        summary="Redeliver, under the same id",
        request=None,
        responses=DeliverySerializer,
    )
    def post(self, request: Request, project: str, webhook: str, message: str) -> Response:
        return Response(DeliverySerializer(webhooks.redeliver(**self.where, message_id=message)).data)
