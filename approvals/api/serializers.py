"""Policies and approval requests as JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.groups import short_name
from approvals.choices import RequestState, Vote
from approvals.models import OWN_REVIEW, ApprovalPolicy, ApprovalRequest, Review
from approvals.policies import MOST_APPROVALS, MOST_DAYS
from registry.api.serializers import TransitionSerializer
from registry.choices import Stage
from registry.models import StageTransition


class TransitionInput(serializers.Serializer):
    stage = serializers.CharField(max_length=40, help_text="None, Staging, Production or Archived")
    note = serializers.CharField(default="", allow_blank=True, max_length=5000, trim_whitespace=False)
    archive_previous = serializers.BooleanField(
        required=False,
        allow_null=True,
        help_text="archive what stands in Production; as the project says when left out",
    )
    bypass_reason = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=5000,
        help_text="moves at once where the policy lets maintainers do so; marked for ever",
    )


class RollbackInput(serializers.Serializer):
    note = serializers.CharField(required=False, allow_blank=True, max_length=5000, trim_whitespace=False)
    bypass_reason = serializers.CharField(required=False, allow_blank=True, max_length=5000)


class ReviewSerializer(serializers.Serializer):
    """A vote; `is_fresh` is false once the evidence changed: then it counts no more."""

    reviewer = serializers.CharField(source="reviewer.username")
    vote = serializers.ChoiceField(choices=Vote.choices)
    comment = serializers.CharField()
    evidence = serializers.CharField()
    is_fresh = serializers.SerializerMethodField()
    door = serializers.CharField()
    created_at = serializers.DateTimeField()

    def get_is_fresh(self, review: Review) -> bool:
        request: ApprovalRequest = self.context["request_of_reviews"]
        return review.evidence == request.evidence


class RequestEventSerializer(serializers.Serializer):
    """A comment (`author` set), or something that happened."""

    kind = serializers.CharField()
    text = serializers.CharField()
    author = serializers.CharField(source="author.username", default=None, allow_null=True)
    created_at = serializers.DateTimeField()


class FindingSerializer(serializers.Serializer):
    """A check's result: what was found, and what would be right."""

    check = serializers.CharField()
    passed = serializers.BooleanField()
    found = serializers.CharField()
    wanted = serializers.CharField()


class ApprovalSerializer(serializers.Serializer):
    """A stage change that waits for reviewers, or what became of it."""

    id = serializers.CharField(source="public_id")
    status = serializers.ChoiceField(source="state", choices=RequestState.choices)
    model_name = serializers.CharField(source="version.model.name")
    version = serializers.IntegerField(source="version.number")
    from_stage = serializers.ChoiceField(choices=Stage.choices)
    to_stage = serializers.ChoiceField(choices=Stage.choices)
    note = serializers.CharField()
    archive_previous = serializers.BooleanField()
    approvals_needed = serializers.IntegerField()
    approvals_given = serializers.IntegerField(
        help_text="those that count: fresh, by people who may still review"
    )
    requester = serializers.CharField(source="requested_by.username")
    author = serializers.CharField(source="version.created_by.username")
    door = serializers.CharField()
    evidence = serializers.CharField(help_text="SHA-256 over files, metrics, annotations and check results")
    checks = FindingSerializer(many=True, source="findings")
    reviews = serializers.SerializerMethodField()
    events = RequestEventSerializer(many=True)
    reason = serializers.CharField(help_text="why it ended as it did")
    decided_by = serializers.CharField(source="decided_by.username", default=None, allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()

    @extend_schema_field(ReviewSerializer(many=True))
    def get_reviews(self, request: ApprovalRequest) -> Any:
        context = {"request_of_reviews": request}
        return ReviewSerializer(request.reviews.all(), many=True, context=context).data


class MovedSerializer(TransitionSerializer):
    """A move that was done ("applied"), or one that waits ("pending_approval", with `approval`)."""

    @extend_schema_field(ApprovalSerializer(allow_null=True))
    def get_approval(self, transition: StageTransition) -> None:
        return None


def moved(outcome: StageTransition | ApprovalRequest) -> tuple[dict[str, Any], int]:
    """The answer's body and status for what `transition_stage` gave."""
    if isinstance(outcome, StageTransition):
        return dict(MovedSerializer(outcome).data), 200
    approval = ApprovalSerializer(outcome).data
    body = {
        "status": "pending_approval",
        "model_name": approval["model_name"],
        "version": approval["version"],
        "from_stage": approval["from_stage"],
        "to_stage": approval["to_stage"],
        "note": approval["note"],
        "actor": approval["requester"],
        "door": approval["door"],
        "created_at": approval["created_at"],
        "approved_by": [],
        "bypass_reason": "",
        "approval_id": approval["id"],
        "approval": approval,
    }
    return body, 202


class CommentInput(serializers.Serializer):
    comment = serializers.CharField(required=False, allow_blank=True, max_length=5000, trim_whitespace=False)


class RejectInput(serializers.Serializer):
    comment = serializers.CharField(max_length=5000, trim_whitespace=False, help_text="why")


class TextInput(serializers.Serializer):
    text = serializers.CharField(max_length=5000, trim_whitespace=False)


class PolicySerializer(serializers.Serializer):
    """Who must approve a move to `stage`, and what must hold; `model_name` is null where it is about all models."""

    id = serializers.IntegerField()
    model_name = serializers.CharField(source="model.name", default=None, allow_null=True)
    stage = serializers.ChoiceField(choices=Stage.choices)
    approvals_needed = serializers.IntegerField()
    reviewers = serializers.SerializerMethodField()
    groups = serializers.SerializerMethodField()
    own_review = serializers.BooleanField()
    bypass = serializers.BooleanField()
    expires_days = serializers.IntegerField()
    checks = serializers.ListField(child=serializers.DictField())
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_reviewers(self, policy: ApprovalPolicy) -> list[str]:
        return sorted(user.username for user in policy.reviewers.all())

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_groups(self, policy: ApprovalPolicy) -> list[str]:
        return sorted(short_name(group) for group in policy.groups.all())


class PolicyInput(serializers.Serializer):
    stage = serializers.CharField(required=False, max_length=40, help_text="Production, when left out")
    model_name = serializers.CharField(
        required=False, allow_null=True, max_length=200, help_text="without it, all models of the project"
    )
    approvals_needed = serializers.IntegerField(required=False, min_value=1, max_value=MOST_APPROVALS)
    reviewers = serializers.ListField(
        required=False, child=serializers.CharField(max_length=150), help_text="names of members"
    )
    groups = serializers.ListField(required=False, child=serializers.CharField(max_length=150))
    own_review = serializers.BooleanField(required=False, help_text=f"whether {OWN_REVIEW}")
    bypass = serializers.BooleanField(required=False, help_text="whether a maintainer may bypass it")
    expires_days = serializers.IntegerField(required=False, min_value=1, max_value=MOST_DAYS)
    checks = serializers.JSONField(
        required=False,
        help_text='a list such as [{"check": "metric_at_least", "metric": "accuracy", "value": 0.9}]',
    )


class RulesSerializer(serializers.Serializer):
    """What holds for Production in the project, whether or not a policy covers it."""

    one_production = serializers.BooleanField(help_text="at most one version of a model stands there")
    archive_previous = serializers.BooleanField(help_text="what stood there is archived when another arrives")


class RulesInput(serializers.Serializer):
    one_production = serializers.BooleanField(required=False)
    archive_previous = serializers.BooleanField(required=False)
