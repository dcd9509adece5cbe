"""The REST door of approvals: moving a stage, and what guards it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from approvals import policies, services
from approvals.api import serializers as s
from approvals.bulk import ACTIONS, Outcome, bulk
from approvals.choices import RequestState
from approvals.filters import RequestFilter
from approvals.models import ApprovalRequest
from approvals.queries import find_request
from approvals.reviewers import waiting_for
from common.api.fields import VersionRefField
from common.checks import shorten
from common.errors import Invalid
from common.problems import body
from registry.choices import Stage

MINE = "waiting_for_me"


class TransitionView(ProjectView):
    @extend_schema(
        operation_id="transition_stage",
        summary="Move a version to another stage, or ask for approval where a policy covers the move",
        request=s.TransitionInput,
        responses={200: s.MovedSerializer, 202: s.MovedSerializer},
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> Response:
        outcome = services.transition_stage(
            actor=self.actor, project=self.project, model_name=name, ref=ref, **self.data(s.TransitionInput)
        )
        body, status = s.moved(outcome)
        return Response(body, status=status)


class RollbackView(ProjectView):
    @extend_schema(
        operation_id="rollback_model",
        summary="Roll back: Production goes to the version that stood there before, by the same policy",
        request=s.RollbackInput,
        responses={200: s.MovedSerializer, 202: s.MovedSerializer},
    )
    def post(self, request: Request, project: str, name: str) -> Response:
        outcome = services.rollback_model(
            actor=self.actor, project=self.project, model_name=name, **self.data(s.RollbackInput)
        )
        body, status = s.moved(outcome)
        return Response(body, status=status)


class ApprovalsView(ProjectView):
    @extend_schema(
        operation_id="list_approvals",
        summary="Approval requests, newest first",
        parameters=[
            OpenApiParameter("status", str, enum=[state for state, _ in RequestState.choices]),
            OpenApiParameter("stage", str, enum=[stage for stage, _ in Stage.choices]),
            OpenApiParameter("model", str, description="a model's name"),
            OpenApiParameter("version", int),
            OpenApiParameter("requester", str, description="who asked"),
            OpenApiParameter(MINE, str, enum=["true", "false"]),
            OpenApiParameter("created_after", str),
            OpenApiParameter("created_before", str),
        ],
        responses=s.ApprovalSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        rows = ApprovalRequest.objects.with_details().filter(project=self.project)
        asked = request.query_params.get(MINE)
        if asked not in (None, "true", "false"):
            raise Invalid.field(MINE, f"{MINE} is {shorten(asked)}; it must be true or false.")
        if asked is not None:
            mine = waiting_for(self.project, self.actor.user)
            rows = rows.filter(pk__in=mine) if asked == "true" else rows.exclude(pk__in=mine)
        return self.page(rows, s.ApprovalSerializer, filters=RequestFilter, also=(MINE,))


class ApprovalView(ProjectView):
    """A view of one request."""

    @property
    def where(self) -> dict[str, Any]:
        return {"actor": self.actor, "project": self.project, "request_id": self.kwargs["approval"]}

    def answer(self) -> Response:
        found = find_request(self.project, self.kwargs["approval"])
        return Response(s.ApprovalSerializer(found).data)


class OneApprovalView(ApprovalView):
    @extend_schema(
        operation_id="get_approval", summary="Read an approval request", responses=s.ApprovalSerializer
    )
    def get(self, request: Request, project: str, approval: str) -> Response:
        return self.answer()


class ApproveView(ApprovalView):
    @extend_schema(
        operation_id="approve",
        summary="Approve; with the last approval that is needed, the version moves",
        request=s.CommentInput,
        responses=s.ApprovalSerializer,
    )
    def post(self, request: Request, project: str, approval: str) -> Response:
        services.approve(**self.where, **self.data(s.CommentInput))
        return self.answer()


class RejectView(ApprovalView):
    @extend_schema(
        operation_id="reject", summary="Reject", request=s.RejectInput, responses=s.ApprovalSerializer
    )
    def post(self, request: Request, project: str, approval: str) -> Response:
        services.reject(**self.where, **self.data(s.RejectInput))
        return self.answer()


class CancelView(ApprovalView):
    @extend_schema(
        operation_id="cancel_approval",
        summary="Withdraw a request",
        request=s.CommentInput,
        responses=s.ApprovalSerializer,
    )
    def post(self, request: Request, project: str, approval: str) -> Response:
        services.cancel_approval(**self.where, **self.data(s.CommentInput))
        return self.answer()


class CommentsView(ApprovalView):
    @extend_schema(
        operation_id="comment_approval",
        summary="Say something to a request",
        request=s.TextInput,
        responses={201: s.RequestEventSerializer},
    )
    def post(self, request: Request, project: str, approval: str) -> Response:
        said = services.comment_approval(**self.where, **self.data(s.TextInput))
        return Response(s.RequestEventSerializer(said).data, status=201)


class PoliciesView(ProjectView):
    @extend_schema(
        operation_id="list_approval_policies",
        summary="Who must approve which moves",
        responses=s.PolicySerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        return self.page(policies.policies_of(self.project), s.PolicySerializer, ("id",))

    @extend_schema(
        operation_id="set_approval_policy",
        summary="Have moves to a stage wait for approval; setting it again replaces it",
        request=s.PolicyInput,
        responses=s.PolicySerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        policy = policies.set_approval_policy(
            actor=self.actor, project=self.project, **self.data(s.PolicyInput)
        )
        return Response(s.PolicySerializer(policy).data)


class PolicyView(ProjectView):
    @extend_schema(
        operation_id="delete_approval_policy",
        summary="Have moves that it covered apply at once again",
        responses={204: None},
    )
    def delete(self, request: Request, project: str, policy_id: int) -> Response:
        policies.delete_approval_policy(actor=self.actor, project=self.project, policy_id=policy_id)
        return Response(status=204)


class RulesView(ProjectView):
    @extend_schema(
        operation_id="get_promotion_rules", summary="What holds for Production", responses=s.RulesSerializer
    )
    def get(self, request: Request, project: str) -> Response:
        return Response(s.RulesSerializer(policies.promotion_rules(self.project)).data)

    @extend_schema(
        operation_id="set_promotion_rules",
        summary="Change what holds for Production",
        request=s.RulesInput,
        responses=s.RulesSerializer,
    )
    def patch(self, request: Request, project: str) -> Response:
        rules = policies.set_promotion_rules(
            actor=self.actor, project=self.project, **self.data(s.RulesInput, partial=True)
        )
        return Response(s.RulesSerializer(rules).data)


class BulkItem(serializers.Serializer):
    """One model or version, and what is said for it alone."""

    model_name = serializers.CharField(max_length=200)
    version = VersionRefField(required=False)
    stage = serializers.CharField(required=False, max_length=40)
    note = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    archive_previous = serializers.BooleanField(required=False, allow_null=True)
    bypass_reason = serializers.CharField(required=False, allow_blank=True, max_length=5000)
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
    approval = serializers.CharField(
        allow_null=True, help_text="the request's id, where a move waits for approval"
    )
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
