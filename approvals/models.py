"""Policies, requests and what people said to them."""

from __future__ import annotations

from typing import Self

from django.contrib.auth.models import Group
from django.db import models
from django.db.models.expressions import RawSQL
from django.utils import timezone

from accounts.choices import Door
from accounts.models import Project, User
from approvals.choices import EventKind, RequestState, Vote
from approvals.may_review import COUNTED
from registry.choices import Stage
from registry.models import ModelVersion, RegisteredModel, StageTransition
from tracking.models import Run

# Of a policy: the same words at every door.
OWN_REVIEW = "who asked for the move, made the version or had a part in training it may review"


class PromotionRules(models.Model):
    """What holds in a project for Production, whether or not a policy covers it."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="promotion_rules")
    one_production = models.BooleanField(
        default=False, help_text="At most one version of a model stands in Production."
    )
    archive_previous = models.BooleanField(
        default=False, help_text="What stood in Production is archived, unless the request says otherwise."
    )

    class Meta:
        verbose_name_plural = "promotion rules"

    def __str__(self) -> str:
        return f"Promotion rules of {self.project}"


class ApprovalPolicy(models.Model):
    """Who must approve a move to one stage, of one model or of all models of the project, and what must hold.

    Without reviewers and groups, every maintainer and admin of the project may review. `checks` is a list of what
    `approvals.checks.check_rules` lets pass.
    """

    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="approval_policies", db_index=False
    )
    model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, null=True, blank=True, related_name="approval_policies"
    )
    stage = models.CharField(max_length=16, choices=Stage)
    approvals_needed = models.PositiveSmallIntegerField(default=1)
    reviewers = models.ManyToManyField(User, blank=True, related_name="+")
    groups = models.ManyToManyField(Group, blank=True, related_name="+")
    own_review = models.BooleanField(default=False, help_text=f"Whether {OWN_REVIEW}.")
    bypass = models.BooleanField(default=False, help_text="Whether a maintainer may bypass it with a reason.")
    expires_days = models.PositiveSmallIntegerField(default=14)
    checks = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("stage", "model__name", "id")
        verbose_name_plural = "approval policies"
        constraints = [
            models.UniqueConstraint(
                fields=["project", "model", "stage"], name="one_policy_each", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=models.Q(approvals_needed__gte=1), name="policy_needs_an_approval"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stage} of {self.model or self.project}"


class RunAuthor(models.Model):
    """Whose work a run did beside who started it, as by the code: versions of it are theirs too, and others review.

    Who started it is known by the run itself.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "user"], name="author_of_run_once")]

    def __str__(self) -> str:
        return f"{self.user} of {self.run}"


class ApprovalRequestQuerySet(models.QuerySet["ApprovalRequest"]):
    def with_details(self) -> Self:
        """What a request's answer shows, in a fixed number of queries."""
        rows = self.annotate(counted=RawSQL(COUNTED, []))  # noqa: S611  a constant of the code
        return rows.select_related(
            "version__model", "version__created_by", "requested_by", "decided_by", "policy", "transition"
        ).prefetch_related("reviews__reviewer", "events__author")


class ApprovalRequest(models.Model):
    """A stage change that waits for reviewers, or what became of it.

    `counted` is how many approvals count while it is open, known `with_details`; a new one has none.
    `evidence` is the digest of what reviewers judge, as it was last looked at: a review counts while it has the
    same. `findings` are the checks' results at that time.
    """

    public_id = models.CharField(max_length=40, unique=True, editable=False)
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="approval_requests", db_index=False
    )
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="approval_requests")
    from_stage = models.CharField(max_length=16, choices=Stage)
    to_stage = models.CharField(max_length=16, choices=Stage)
    note = models.TextField(blank=True)
    archive_previous = models.BooleanField(default=False)
    policy = models.ForeignKey(ApprovalPolicy, on_delete=models.SET_NULL, null=True, related_name="requests")
    approvals_needed = models.PositiveSmallIntegerField()
    evidence = models.CharField(max_length=64)
    findings = models.JSONField(default=list)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    door = models.CharField(max_length=16, choices=Door)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    reminded_at = models.DateTimeField(null=True, editable=False)
    state = models.CharField(max_length=16, choices=RequestState, default=RequestState.PENDING)
    reason = models.TextField(blank=True)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    transition = models.OneToOneField(
        StageTransition, on_delete=models.PROTECT, null=True, related_name="approval_request"
    )

    counted = 0

    objects = ApprovalRequestQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["version", "to_stage"],
                condition=models.Q(state=RequestState.PENDING),
                name="one_open_request_each",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=RequestState.values), name="request_state_known"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="requests_by_age"),
            models.Index(
                fields=["project", "expires_at"],
                condition=models.Q(state=RequestState.PENDING),
                name="open_requests",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.version} to {self.to_stage}"

    @property
    def is_open(self) -> bool:
        return self.state == RequestState.PENDING

    @property
    def approvals_given(self) -> int:
        """How many approvals count, or counted at its end: of one that moved its version, those that it took."""
        if self.is_open:
            return self.counted
        if self.transition is not None:
            return len(self.transition.approved_by)
        fresh = (r for r in self.reviews.all() if r.vote == Vote.APPROVE and r.evidence == self.evidence)
        return len({review.reviewer_id for review in fresh})


class Review(models.Model):
    """One vote on the evidence of that moment; never changed, never removed."""

    request = models.ForeignKey(
        ApprovalRequest, on_delete=models.PROTECT, related_name="reviews", db_index=False
    )
    reviewer = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    vote = models.CharField(max_length=8, choices=Vote)
    comment = models.TextField(blank=True)
    evidence = models.CharField(max_length=64)
    door = models.CharField(max_length=16, choices=Door)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(
                fields=["request", "reviewer", "evidence", "vote"], name="one_vote_on_one_evidence"
            )
        ]

    def __str__(self) -> str:
        return f"{self.reviewer} {self.vote}s {self.request}"


class RequestEvent(models.Model):
    """A comment, or something that happened to a request; never changed, never removed."""

    request = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=16, choices=EventKind)
    text = models.TextField()
    author = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.request}: {self.kind}"
