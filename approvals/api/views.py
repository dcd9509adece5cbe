"""The REST door of approvals: moving a stage."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from approvals import services
from approvals.bulk import ACTIONS, Outcome, bulk
from common.api.fields import VersionRefField
from common.api.problems import body
from registry.api.serializers import TransitionSerializer


class TransitionInput(serializers.Serializer):
    stage = serializers.CharField(max_length=40, help_text="None, Staging, Production or Archived")
    note = serializers.CharField(default="", allow_blank=True, max_length=5000, trim_whitespace=False)


class TransitionView(ProjectView):
    @extend_schema(
        operation_id="transition_stage",
        summary="Move a version to another stage",
        request=TransitionInput,
        responses=TransitionSerializer,
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> Response:
        moved = services.transition_stage(
            actor=self.actor, project=self.project, model_name=name, ref=ref, **self.data(TransitionInput)
        )
        return Response(TransitionSerializer(moved).data)


class BulkItem(serializers.Serializer):
    """One model or version, and what is said for it alone."""

    model_name = serializers.CharField(max_length=200)
    version = VersionRefField(required=False)
    stage = serializers.CharField(required=False, max_length=40)
    note = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    alias = serializers.CharField(required=False, max_length=64)
    key = serializers.CharField(required=False, max_length=250)
    value = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    description = serializers.CharField(required=False, allow_blank=True, max_length=20_000)
    tags = serializers.ListField(child=serializers.CharField(max_length=64), required=False)
    confirm = serializers.CharField(required=False, max_length=200)
    as_name = serializers.CharField(required=False, max_length=200)


class BulkWords(BulkItem):
    """What is said for all items."""

    model_name = serializers.CharField(required=False, max_length=200)


class BulkInput(serializers.Serializer):
    action = serializers.CharField(max_length=40, help_text=", ".join(ACTIONS))
    items = BulkItem(many=True, allow_empty=False)
    common = BulkWords(required=False, help_text="said for each item that does not say it itself")


class OutcomeSerializer(serializers.Serializer):
    model_name = serializers.CharField()
    version = VersionRefField(allow_null=True)
    ok = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    def get_ok(self, outcome: Outcome) -> bool:
        return outcome.error is None

    @extend_schema_field({"type": "object", "nullable": True, "additionalProperties": {}})
    def get_error(self, outcome: Outcome) -> dict[str, Any] | None:
        return None if outcome.error is None else body(outcome.error, "")


class OutcomesSerializer(serializers.Serializer):
    """One result per item, in their order."""

    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = OutcomeSerializer(many=True)


class BulkView(ProjectView):
    @extend_schema(
        operation_id="bulk",
        summary="The same act on many models or versions, one result each",
        request=BulkInput,
        responses=OutcomesSerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        data = self.data(BulkInput)
        common = data.pop("common", {})
        found = bulk(actor=self.actor, project=self.project, **data, **common)
        failed = sum(outcome.error is not None for outcome in found)
        answer = {"succeeded": len(found) - failed, "failed": failed, "results": found}
        return Response(OutcomesSerializer(answer).data)
