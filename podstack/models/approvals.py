"""Policies, requests and reviews."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podstack.models.base import Answer, many, moment


@dataclass(frozen=True, kw_only=True)
class Review(Answer):
    """A vote, "approve" or "reject"; once the evidence changed it is not fresh and counts no more."""

    reviewer: str = ""
    vote: str = ""
    comment: str = ""
    evidence: str = ""
    is_fresh: bool = True
    door: str = ""
    created_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class ApprovalEvent(Answer):
    """A comment (`author` set), or something that happened to a request."""

    kind: str = ""
    text: str = ""
    author: str | None = None
    created_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class CheckResult(Answer):
    """What a policy's check found, and what would be right."""

    check: str = ""
    passed: bool = False
    found: str = ""
    wanted: str = ""


@dataclass(frozen=True, kw_only=True)
class Approval(Answer):
    """A stage change that waits for reviewers ("Pending"), or what became of it.

    `status` is Pending, Approved, Rejected, Cancelled, Expired, Superseded or Bypassed; `reason` says why.
    """

    id: str = ""
    status: str = ""
    model_name: str = ""
    version: int = 0
    from_stage: str = ""
    to_stage: str = ""
    note: str = ""
    archive_previous: bool = False
    approvals_needed: int = 1
    approvals_given: int = 0
    requester: str = ""
    author: str = ""
    evidence: str = ""
    checks: tuple[CheckResult, ...] = many(CheckResult)
    reviews: tuple[Review, ...] = many(Review)
    events: tuple[ApprovalEvent, ...] = many(ApprovalEvent)
    reason: str = ""
    decided_by: str | None = None
    decided_at: datetime | None = moment()
    created_at: datetime | None = moment()
    expires_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class ApprovalPolicy(Answer):
    """Who must approve a move to `stage`, and what must hold; of one model, or of all where `model_name` is None.

    Without reviewers and groups, every maintainer and admin of the project may review.
    """

    id: int = 0
    model_name: str | None = None
    stage: str = ""
    approvals_needed: int = 1
    reviewers: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    own_review: bool = False
    bypass: bool = False
    expires_days: int = 14
    checks: list[dict[str, Any]] = field(default_factory=list)
    created_by: str = ""
    created_at: datetime | None = moment()
    updated_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class PromotionRules(Answer):
    """What holds for Production: at most one version of a model, and whether what stood there is archived."""

    one_production: bool = False
    archive_previous: bool = False
