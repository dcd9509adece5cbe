"""Calls on what guards a stage: policies, requests and reviews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podstack.calls import Calls, given
from podstack.models import Approval, ApprovalEvent, ApprovalPolicy, PromotionRules, StageTransition
from podstack.values import texts


class ApprovalCalls(Calls):
    """`approval_id` is the id of a request, `apr-…`."""

    def list_approvals(
        self,
        status: str | None = None,
        model_name: str | None = None,
        requester: str | None = None,
        waiting_for_me: bool | None = None,
    ) -> Iterator[Approval]:
        """Approval requests, the newest first; status is Pending, Approved, Rejected, Cancelled, Expired …"""
        mine = None if waiting_for_me is None else str(waiting_for_me).lower()
        return self.listed(
            Approval.from_json,
            ("approvals",),
            status=status,
            model=model_name,
            requester=requester,
            waiting_for_me=mine,
        )

    def get_approval(self, approval_id: str) -> Approval:
        """One request with its checks, votes and comments."""
        return Approval.from_json(self.http.call("GET", self.path("approvals", approval_id)))

    def approve(self, approval_id: str, comment: str = "") -> Approval:
        """**Approve**. With the last approval that is needed the version moves, and `status` is "Approved".

        PermissionDeniedError for who may not review it; ConflictError when it is decided, or a check fails now.
        """
        return self._act(approval_id, "approve", {"comment": comment})

    def reject(self, approval_id: str, comment: str) -> Approval:
        """**Reject**, with the reason: ends the request."""
        return self._act(approval_id, "reject", {"comment": comment})

    def cancel_approval(self, approval_id: str, comment: str = "") -> Approval:
        """Withdraws a request: one's own, or as a maintainer any."""
        return self._act(approval_id, "cancel", {"comment": comment})

    def comment_approval(self, approval_id: str, text: str) -> ApprovalEvent:
        """Says something to a request, open or decided."""
        path = self.path("approvals", approval_id, "comments")
        return ApprovalEvent.from_json(self.http.call("POST", path, json={"text": text}))

    def set_approval_policy(
        self,
        model_name: str | None = None,
        stage: str = "Production",
        approvals_needed: int = 1,
        reviewers: Sequence[str] = (),
        groups: Sequence[str] = (),
        *,
        own_review: bool = False,
        bypass: bool = False,
        expires_days: int = 14,
        checks: Sequence[Mapping[str, Any]] = (),
    ) -> ApprovalPolicy:
        """From now on a move to `stage` waits for approval: of one model, or of all models of the project.

        Setting it again replaces all of it. Without reviewers and groups every maintainer and admin may review.
        own_review: whether who asked for the move, made the version or had a part in training it may review;
        bypass: whether a maintainer may move at once with a reason. checks must hold before anybody is asked, such
        as {"check": "metric_at_least", "metric": "accuracy", "value": 0.9}, {"check": "not_worse", "metric": "f1",
        "tolerance": 0.01}, {"check": "tag", "key": "validated_by"}, {"check": "dataset"}, {"check": "scan_clean"},
        {"check": "description"}.
        """
        body = {
            "model_name": model_name,
            "stage": stage,
            "approvals_needed": approvals_needed,
            "reviewers": texts("reviewers", reviewers),
            "groups": texts("groups", groups),
            "own_review": own_review,
            "bypass": bypass,
            "expires_days": expires_days,
            "checks": [dict(check) for check in checks],
        }
        return ApprovalPolicy.from_json(self.http.call("POST", self.path("approval-policies"), json=body))

    def list_approval_policies(self) -> Iterator[ApprovalPolicy]:
        """Who must approve which moves."""
        return self.listed(ApprovalPolicy.from_json, ("approval-policies",))

    def delete_approval_policy(self, policy_id: int) -> None:
        """What it covered applies at once again; its open requests are Superseded."""
        self.http.call("DELETE", self.path("approval-policies", policy_id))

    def get_promotion_rules(self) -> PromotionRules:
        """What holds for Production in this project."""
        return PromotionRules.from_json(self.http.call("GET", self.path("promotion-rules")))

    def set_promotion_rules(
        self, one_production: bool | None = None, archive_previous: bool | None = None
    ) -> PromotionRules:
        """What holds for Production in the project; None leaves one as it is.

        one_production: at most one version of a model stands there (ConflictError lists models with more).
        archive_previous: what stood there is archived when another one arrives.
        """
        body = given(one_production=one_production, archive_previous=archive_previous)
        return PromotionRules.from_json(self.http.call("PATCH", self.path("promotion-rules"), json=body))

    def rollback_model(self, model_name: str, note: str = "", bypass_reason: str = "") -> StageTransition:
        """**Roll back**: Production goes to the version that stood there before, by the same policy."""
        body = {"note": note, "bypass_reason": bypass_reason}
        path = self.path("models", model_name, "rollback")
        return StageTransition.from_json(self.http.call("POST", path, json=body))

    def _act(self, approval_id: str, what: str, body: Mapping[str, Any]) -> Approval:
        return Approval.from_json(
            self.http.call("POST", self.path("approvals", approval_id, what), json=body)
        )
