"""Whom a request concerns, and what they are told: each in the transaction of what happened."""

from __future__ import annotations

from collections.abc import Iterable

from django.urls import reverse

from accounts.choices import Notice
from accounts.models import User
from accounts.notifications import notify
from approvals.choices import EventKind, RequestState, Vote
from approvals.models import ApprovalPolicy, ApprovalRequest, RequestEvent, Review
from approvals.reviewers import reviewers_for
from common.checks import level, shorten


def tell_of_request(request: ApprovalRequest, policy: ApprovalPolicy) -> None:
    """Reviewers of a new request."""
    text = f"{request.requested_by.username} asks for {_what(request)} to move to {request.to_stage}."
    _tell(request, reviewers_for(request, policy), Notice.APPROVAL_REQUESTED, text)


def tell_of_bypass(request: ApprovalRequest, policy: ApprovalPolicy) -> None:
    """Reviewers whose policy was passed by."""
    text = f"{request.requested_by.username} moved {_what(request)} to {request.to_stage} past the policy: "
    _tell(
        request, reviewers_for(request, policy), Notice.POLICY_BYPASSED, text + shorten(request.reason, 300)
    )


def tell_of_reminder(request: ApprovalRequest, policy: ApprovalPolicy) -> None:
    """Reviewers who have not approved what is there now."""
    fresh = Review.objects.filter(request=request, evidence=request.evidence)
    people = reviewers_for(request, policy).exclude(pk__in=fresh.values("reviewer"))
    text = f"The request for {_what(request)} to move to {request.to_stage} expires soon."
    _tell(request, people, Notice.APPROVAL_REMINDER, text)


def tell_of_evidence(request: ApprovalRequest, before: str) -> None:
    """Those whose votes count no more."""
    stale = Review.objects.filter(request=request, vote=Vote.APPROVE, evidence=before).values("reviewer")
    text = f"{_what(request)} has changed since you approved its move to {request.to_stage}: look again."
    _tell(request, User.objects.filter(pk__in=stale), Notice.APPROVAL_STALE, text)


def tell_of_comment(said: RequestEvent) -> None:
    """The requester, and who has spoken or voted before."""
    request = said.request
    spoken = RequestEvent.objects.filter(request=request, kind=EventKind.COMMENT).values("author")
    voted = Review.objects.filter(request=request).values("reviewer")
    people = User.objects.filter(pk__in=spoken) | User.objects.filter(pk__in=voted)
    people = people | User.objects.filter(pk=request.requested_by_id)
    author = said.author.username if said.author else "somebody"
    text = f"{author} on {_what(request)} to {request.to_stage}: {shorten(said.text, 300)}"
    _tell(request, people.exclude(pk=said.author_id or 0), Notice.APPROVAL_COMMENT, text)


def tell_of_end(request: ApprovalRequest) -> None:
    """The requester, unless it was they who ended it."""
    if request.state == RequestState.BYPASSED or request.decided_by_id == request.requested_by_id:
        return
    by = f" by {request.decided_by.username}" if request.decided_by else ""
    reason = f": {shorten(request.reason, 300)}" if request.reason else "."
    text = f"Your request for {_what(request)} to move to {request.to_stage} is {request.state}{by}{reason}"
    _tell(request, [request.requested_by], Notice.APPROVAL_DECIDED, text)


def _what(request: ApprovalRequest) -> str:
    return f"{level(request.version.model.name)} version {request.version.number}"


def _tell(request: ApprovalRequest, people: Iterable[User], kind: Notice, text: str) -> None:
    path = reverse("approvals:detail", args=[request.project.slug, request.public_id])
    notify(people, kind, text, project=request.project, path=path)
