"""The verbs that move a stage, and those on the requests that guard it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project, User
from accounts.permissions import Actor, may, require, system_actor
from approvals import announcements
from approvals.checks import Evidence, evidence_of
from approvals.choices import EventKind, RequestState, Vote
from approvals.models import ApprovalPolicy, ApprovalRequest, RequestEvent, Review
from approvals.policies import check_stage, hold_rules, kept_policy, policy_for
from approvals.queries import find_request
from approvals.reviewers import require_reviewer, reviewers_for
from common import sql
from common.checks import check_text
from common.errors import Conflict, Denied
from common.ids import new_id
from registry import stages
from registry.choices import Protected, Stage, VersionStatus
from registry.locks import lock_named_version, lock_version
from registry.models import ModelVersion, RegisteredModel, StageTransition
from registry.protections import require_move
from registry.queries import find_model

NOTE_LENGTH = 5000
# What a move needs to know beside its version: one statement.
AROUND = """
    SELECT (SELECT p.id FROM approvals_approvalpolicy p
            WHERE p.project_id = %s AND p.stage = %s AND (p.model_id IS NULL OR p.model_id = %s)
            ORDER BY p.model_id NULLS LAST LIMIT 1),
           EXISTS (SELECT 1 FROM approvals_approvalrequest q WHERE q.version_id = %s AND q.state = 'Pending'),
           EXISTS (SELECT 1 FROM approvals_promotionrules r WHERE r.project_id = %s AND r.one_production),
           EXISTS (SELECT 1 FROM approvals_promotionrules r WHERE r.project_id = %s AND r.archive_previous)
"""


@dataclass(frozen=True)
class Around:
    """What a move needs to know beside its version."""

    policy_id: int | None
    has_open_requests: bool
    one_production: bool
    archive_previous: bool


def transition_stage(
    *,
    actor: Actor,
    project: Project,
    model_name: str,
    ref: str | int,
    stage: str,
    note: str = "",
    archive_previous: bool | None = None,
    bypass_reason: str = "",
) -> StageTransition | ApprovalRequest:
    """Moves a version to another stage at once, or, where a policy covers the move, opens a request for it.

    Asking again while a request is open answers that one. `archive_previous`: what stands in Production is archived
    when this version arrives there; None is as the project says. `bypass_reason` moves at once where the policy
    lets maintainers do so. Conflict when the version is there already (of two who ask at once, one), when a
    check fails (`items` lists them), or when another version stands in the way.
    """
    require(actor, project, Right.WRITE)
    target = check_stage(stage)
    check_text("note", note, max_length=NOTE_LENGTH)
    check_text("bypass_reason", bypass_reason, max_length=NOTE_LENGTH)
    with transaction.atomic():
        if target == Stage.PRODUCTION:
            hold_rules(project)
        version = lock_named_version(project, model_name, ref)
        around = _around(version, target)
        _check_move(actor, version, target)
        archive = around.archive_previous if archive_previous is None else archive_previous
        policy = kept_policy(version.model, target, around.policy_id)
        if policy is None:
            return _move(actor, version, target, note, archive, around)
        if bypass_reason.strip():
            return _bypass(actor, policy, version, target, note, archive, around, bypass_reason)
        return _ask(actor, policy, version, target, note, archive)


def rollback_model(
    *, actor: Actor, project: Project, model_name: str, note: str = "", bypass_reason: str = ""
) -> StageTransition | ApprovalRequest:
    """**Roll back**: Production goes to the version that stood there before, by the same policy.

    What stands there now is archived. Conflict when there is nothing to go back to.
    """
    require(actor, project, Right.WRITE)
    previous = previous_production(find_model(project, model_name))
    if previous is None:
        raise Conflict(
            f"No version of {model_name} stood in Production before.",
            "Choose a version, and move it there.",
            code="nothing_to_roll_back_to",
        )
    return transition_stage(
        actor=actor,
        project=project,
        model_name=model_name,
        ref=previous.number,
        stage=Stage.PRODUCTION,
        note=note or "Rolled back.",
        archive_previous=True,
        bypass_reason=bypass_reason,
    )


def previous_production(model: RegisteredModel) -> ModelVersion | None:
    """The version that left Production last and stands elsewhere now."""
    left = StageTransition.objects.filter(version__model=model, from_stage=Stage.PRODUCTION)
    left = left.exclude(version__stage=Stage.PRODUCTION).filter(version__deleted_at=None)
    last = left.select_related("version").order_by("-id").first()
    return None if last is None else last.version


def approve(*, actor: Actor, project: Project, request_id: str, comment: str = "") -> ApprovalRequest:
    """**Approve**: with the last approval that is needed, the version moves in the same transaction.

    Denied to who may not review it; Conflict when it is decided, or a check fails now. A version that has moved
    meanwhile makes the request Superseded, which its `reason` says.
    """
    check_text("comment", comment, max_length=NOTE_LENGTH)
    with transaction.atomic():
        request = _open_request(actor, project, request_id)
        if _supersede_if_moved(request, actor):
            return request
        policy, evidence = _judged(request, actor)
        _refuse_failed(evidence, request.version, request.to_stage)
        is_new = _vote(actor, request, Vote.APPROVE, comment, evidence)
        approvers = _approvers(request, policy, evidence)
        # By now: the policy may ask for fewer than when they voted.
        if len(approvers) >= policy.approvals_needed:
            _apply(request, actor, approvers, evidence)
        elif not is_new:
            raise Conflict(
                f"You approved {request.public_id} already.", "It waits for others.", code="already_approved"
            )
    return request


def reject(*, actor: Actor, project: Project, request_id: str, comment: str) -> ApprovalRequest:
    """**Reject**, with the reason: ends the request. Denied and Conflict as for `approve`."""
    check_text("comment", comment, max_length=NOTE_LENGTH, required=True)
    with transaction.atomic():
        request = _open_request(actor, project, request_id)
        _, evidence = _judged(request, actor)
        _vote(actor, request, Vote.REJECT, comment, evidence)
        _end(request, RequestState.REJECTED, comment, actor)
    return request


def cancel_approval(*, actor: Actor, project: Project, request_id: str, comment: str = "") -> ApprovalRequest:
    """Withdraws a request: by who asked, or by a maintainer."""
    check_text("comment", comment, max_length=NOTE_LENGTH)
    with transaction.atomic():
        request = _open_request(actor, project, request_id)
        if request.requested_by_id != actor.user.pk and not may(actor, project, Right.MAINTAIN):
            raise Denied(
                f"{request.public_id} is {request.requested_by.username}'s.",
                "Ask them, or a maintainer, to withdraw it.",
                code="not_yours",
            )
        _end(request, RequestState.CANCELLED, comment, actor)
    return request


def comment_approval(*, actor: Actor, project: Project, request_id: str, text: str) -> RequestEvent:
    """Says something to a request, open or decided."""
    require(actor, project, Right.REVIEW)
    check_text("text", text, max_length=NOTE_LENGTH, required=True)
    with transaction.atomic():
        request = find_request(project, request_id)
        said = RequestEvent.objects.create(
            request=request, kind=EventKind.COMMENT, text=text, author=actor.user
        )
        record(
            actor, "comment_approval", "approval", request.public_id, project=project, after={"text": text}
        )
        announcements.tell_of_comment(said)
    return said


def refresh_request(*, actor: Actor, request_pk: int) -> None:
    """The clock's look at an open request: over its time, its version moved or gone, its evidence another one."""
    with transaction.atomic():
        request = _locked(ApprovalRequest.objects.get(pk=request_pk))
        if request is None or not request.is_open:
            return
        if request.expires_at <= timezone.now():
            _end(request, RequestState.EXPIRED, "Nobody decided in time.", actor)
        elif not _supersede_if_moved(request, actor):
            policy = _policy_of(request)
            _note_evidence(request, evidence_of(request.version, policy.checks))
            _remind(request, policy)


def _around(version: ModelVersion, target: Stage) -> Around:
    model = version.model
    project = model.project_id
    found = sql.row(AROUND, [project, str(target), model.pk, version.pk, project, project])
    assert found is not None
    return Around(*found)


def _check_move(actor: Actor, version: ModelVersion, target: Stage) -> None:
    if version.stage == target:
        raise Conflict(
            f"Version {version.number} of {version.model.name} is in {target} already.",
            code="stage_unchanged",
        )
    require_move(actor, version.model, Protected.STAGE, [version.stage, target])
    if target in (Stage.STAGING, Stage.PRODUCTION) and version.status != VersionStatus.READY:
        pending = version.status == VersionStatus.PENDING
        why = "a worker is still looking at its files." if pending else version.status_reason
        raise Conflict(
            f"Version {version.number} is {version.status} and cannot move to {target}: {why}",
            "Try again in a few seconds." if pending else "A maintainer can release it with a note.",
            code="version_not_ready",
        )


def _move(
    actor: Actor,
    version: ModelVersion,
    target: Stage,
    note: str,
    archive_previous: bool,
    around: Around,
    warrant: stages.Warrant = stages.NO_POLICY,
) -> StageTransition:
    """Moves the locked version, after what stands in Production made room where that is wanted."""
    if target == Stage.PRODUCTION and (archive_previous or around.one_production):
        _make_room(actor, version, archive_previous)
    moved = stages.move(
        actor=actor, version=version, stage=target, note=note, is_sole=around.one_production, warrant=warrant
    )
    if around.has_open_requests:
        _supersede_others(version, actor)
    return moved


def _make_room(actor: Actor, version: ModelVersion, archive_previous: bool) -> None:
    standing = ModelVersion.objects.select_for_update(no_key=True).filter(
        model=version.model_id, stage=Stage.PRODUCTION, deleted_at=None
    )
    for other in standing.exclude(pk=version.pk).order_by("number"):
        if not archive_previous:
            raise Conflict(
                f"Version {other.number} of {version.model.name} stands in Production, and only one may.",
                "Archive it with this move (archive_previous), or move it first.",
                code="production_taken",
                items=[f"version {other.number}"],
            )
        if policy_for(version.model, Stage.ARCHIVED) is not None:
            raise Conflict(
                f"Version {other.number} of {version.model.name} stands in Production, and a policy guards Archived.",
                f"Move version {other.number} out of Production first, by its own request.",
                code="production_taken",
                items=[f"version {other.number}"],
            )
        other.model = version.model
        require_move(actor, version.model, Protected.STAGE, [Stage.PRODUCTION, Stage.ARCHIVED])
        stages.move(
            actor=actor,
            version=other,
            stage=Stage.ARCHIVED,
            note=f"Version {version.number} took its place in Production.",
        )


def _bypass(
    actor: Actor,
    policy: ApprovalPolicy,
    version: ModelVersion,
    target: Stage,
    note: str,
    archive: bool,
    around: Around,
    reason: str,
) -> StageTransition:
    """Moves at once, past the policy; it stays marked for ever, and its reviewers are told."""
    if not policy.bypass:
        raise Denied(
            f"The policy for {target} of {version.model.name} lets nobody bypass it.",
            "Ask for approval: leave bypass_reason out.",
            code="no_bypass",
        )
    require(actor, version.model.project, Right.MAINTAIN)
    evidence = evidence_of(version, policy.checks)
    request = _new_request(actor, policy, version, target, note, archive, evidence)
    warrant = stages.Warrant(approval=request.public_id, evidence=evidence.digest, bypass_reason=reason)
    moved = _move(actor, version, target, note, archive, around, warrant)
    request.state, request.reason = RequestState.BYPASSED, reason
    request.transition, request.decided_by, request.decided_at = moved, actor.user, timezone.now()
    request.save()
    after = {"reason": reason, "stage": target, "version": f"{version.model.name}/{version.number}"}
    record(actor, "bypass_policy", "approval", request.public_id, project=version.model.project, after=after)
    announcements.tell_of_bypass(request, policy)
    return moved


def _ask(
    actor: Actor, policy: ApprovalPolicy, version: ModelVersion, target: Stage, note: str, archive: bool
) -> ApprovalRequest:
    """The open request for this move, or a new one; Conflict when a check fails."""
    there = ApprovalRequest.objects.with_details().filter(
        version=version, to_stage=target, state=RequestState.PENDING
    )
    request = there.first()
    if request is not None and request.expires_at > timezone.now():
        return request
    if request is not None:
        _end(request, RequestState.EXPIRED, "Nobody decided in time.", actor)
    evidence = evidence_of(version, policy.checks)
    _refuse_failed(evidence, version, target)
    request = _new_request(actor, policy, version, target, note, archive, evidence)
    request.save()
    after = {
        "version": f"{version.model.name}/{version.number}",
        "from": version.stage,
        "to": target,
        "note": note,
        "evidence": evidence.digest,
    }
    record(
        actor, "request_approval", "approval", request.public_id, project=version.model.project, after=after
    )
    announcements.tell_of_request(request, policy)
    return request


def _new_request(
    actor: Actor,
    policy: ApprovalPolicy,
    version: ModelVersion,
    target: Stage,
    note: str,
    archive: bool,
    evidence: Evidence,
) -> ApprovalRequest:
    """Not saved yet."""
    return ApprovalRequest(
        public_id=new_id("apr"),
        project=version.model.project,
        version=version,
        from_stage=version.stage,
        to_stage=target,
        note=note,
        archive_previous=archive,
        policy=policy,
        approvals_needed=policy.approvals_needed,
        evidence=evidence.digest,
        findings=evidence.as_json(),
        requested_by=actor.user,
        door=actor.door,
        expires_at=timezone.now() + timedelta(days=policy.expires_days),
    )


def _refuse_failed(evidence: Evidence, version: ModelVersion, target: str) -> None:
    if evidence.failed:
        raise Conflict(
            f"Version {version.number} of {version.model.name} does not meet {len(evidence.failed)} of the checks "
            f"for {target}.",
            "Each line says what was found and what would be right.",
            code="checks_failed",
            items=[f"{finding.found} {finding.wanted}" for finding in evidence.failed],
        )


def _open_request(actor: Actor, project: Project, request_id: str) -> ApprovalRequest:
    """The request with its version, locked by the caller alone; Conflict when it is decided or its time is over."""
    require(actor, project, Right.REVIEW)
    found = find_request(project, request_id)
    if found.is_open and found.to_stage == Stage.PRODUCTION:
        hold_rules(project)
    request = _locked(found) if found.is_open else found
    if request is None:
        raise _gone(found)
    if not request.is_open:
        raise Conflict(_decided(request), code="already_decided")
    if request.expires_at <= timezone.now():
        raise Conflict(f"{request.public_id} has expired.", "Ask for the move again.", code="already_decided")
    return request


def _gone(request: ApprovalRequest) -> Conflict:
    return Conflict(f"The version of {request.public_id} was deleted.", code="already_decided")


def _decided(request: ApprovalRequest) -> str:
    by = f" by {request.decided_by.username}" if request.decided_by else ""
    return f"{request.public_id} is {request.state}{by} already."


def _locked(request: ApprovalRequest) -> ApprovalRequest | None:
    """The request as it is now, with its model, its version and itself locked in that order; None without version."""
    version = ModelVersion.objects.alive().filter(pk=request.version_id).first()
    if version is not None:
        version = lock_version(version.pk)
    rows = ApprovalRequest.objects.select_for_update(of=("self",)).select_related(
        "version__model", "requested_by", "decided_by", "policy", "project"
    )
    request = rows.get(pk=request.pk)
    if version is None:
        if request.is_open:
            _end(request, RequestState.SUPERSEDED, "The version was deleted.", system_actor())
        return None
    request.version = version
    return request


def _judged(request: ApprovalRequest, actor: Actor) -> tuple[ApprovalPolicy, Evidence]:
    """The policy and the evidence of now, when the actor may review."""
    policy = _policy_of(request)
    require_reviewer(actor, request, policy)
    evidence = evidence_of(request.version, policy.checks)
    _note_evidence(request, evidence)
    return policy, evidence


def _policy_of(request: ApprovalRequest) -> ApprovalPolicy:
    """The policy that covers the move now: a model's own may have come since."""
    policy = policy_for(request.version.model, Stage(request.to_stage))
    assert policy is not None, "deleting a policy ends what waits for it"
    if (request.policy_id, request.approvals_needed) != (policy.pk, policy.approvals_needed):
        request.policy, request.approvals_needed = policy, policy.approvals_needed
        request.save(update_fields=["policy", "approvals_needed"])
    return policy


def _vote(actor: Actor, request: ApprovalRequest, vote: Vote, comment: str, evidence: Evidence) -> bool:
    """Whether it is a new one: the same on the same evidence counts once."""
    mine = Review.objects.filter(request=request, reviewer=actor.user, evidence=evidence.digest, vote=vote)
    if mine.exists():
        return False
    Review.objects.create(
        request=request,
        reviewer=actor.user,
        vote=vote,
        comment=comment,
        evidence=evidence.digest,
        door=actor.door,
    )
    record(
        actor,
        "approve" if vote == Vote.APPROVE else "reject",
        "approval",
        request.public_id,
        project=request.project,
        after={"comment": comment, "evidence": evidence.digest},
    )
    return True


def _approvers(request: ApprovalRequest, policy: ApprovalPolicy, evidence: Evidence) -> list[User]:
    """Who approved this evidence and may still review."""
    fresh = Review.objects.filter(request=request, vote=Vote.APPROVE, evidence=evidence.digest)
    return list(reviewers_for(request, policy).filter(pk__in=fresh.values("reviewer")))


def _apply(request: ApprovalRequest, actor: Actor, approvers: list[User], evidence: Evidence) -> None:
    """The move itself, in the name of who asked for it."""
    version, target = request.version, Stage(request.to_stage)
    asker = Actor(user=request.requested_by, door=actor.door, request_id=actor.request_id)
    if not may(asker, request.project, Right.WRITE):
        _end(
            request,
            RequestState.SUPERSEDED,
            f"{request.requested_by.username}, who asked for it, may not change stages any more.",
            actor,
        )
        return
    _check_move(asker, version, target)
    warrant = stages.Warrant(
        approval=request.public_id,
        approved_by=[user.username for user in approvers],
        evidence=evidence.digest,
    )
    request.state = RequestState.APPROVED  # it is none of those that the move supersedes
    request.save(update_fields=["state"])
    around = _around(version, target)
    request.transition = _move(
        asker, version, target, request.note, request.archive_previous, around, warrant
    )
    _end(request, RequestState.APPROVED, "", actor)


def _supersede_if_moved(request: ApprovalRequest, actor: Actor) -> bool:
    if request.version.stage == request.from_stage:
        return False
    reason = f"The version moved from {request.from_stage} to {request.version.stage} meanwhile."
    _end(request, RequestState.SUPERSEDED, reason, actor)
    return True


def _supersede_others(version: ModelVersion, actor: Actor) -> None:
    rows = ApprovalRequest.objects.select_for_update(of=("self",)).select_related("version__model", "project")
    for request in rows.filter(version=version, state=RequestState.PENDING):
        request.version = version
        _supersede_if_moved(request, actor)


def _end(request: ApprovalRequest, state: RequestState, reason: str, actor: Actor) -> None:
    """The one place where a request ends."""
    request.state, request.reason = state, reason
    request.decided_by = None if actor.user.is_system else actor.user
    request.decided_at = timezone.now()
    request.save(update_fields=["state", "reason", "decided_by", "decided_at", "transition"])
    record(
        actor,
        f"{ENDINGS[state]}_approval",
        "approval",
        request.public_id,
        project=request.project,
        after={"state": state, "reason": reason},
    )
    announcements.tell_of_end(request)


ENDINGS = {
    RequestState.APPROVED: "complete",
    RequestState.REJECTED: "reject",
    RequestState.CANCELLED: "cancel",
    RequestState.EXPIRED: "expire",
    RequestState.SUPERSEDED: "supersede",
}


def _note_evidence(request: ApprovalRequest, evidence: Evidence) -> None:
    """Takes down evidence that is another than at the last look: votes on the old one count no more."""
    if request.evidence == evidence.digest:
        return
    before = request.evidence
    stale = Review.objects.filter(request=request, evidence=before).count()
    request.evidence, request.findings = evidence.digest, evidence.as_json()
    request.save(update_fields=["evidence", "findings"])
    told = f" {stale} vote{'s' if stale != 1 else ''} must be given again." if stale else ""
    RequestEvent.objects.create(
        request=request,
        kind=EventKind.EVIDENCE,
        text=f"The version's metrics, annotations or checks changed.{told}",
    )
    announcements.tell_of_evidence(request, before)


REMINDED_BEFORE = timedelta(days=2)


def _remind(request: ApprovalRequest, policy: ApprovalPolicy) -> None:
    """Once, when less than two days, and less than half of the time, are left."""
    left = request.expires_at - timezone.now()
    if request.reminded_at or left > min(REMINDED_BEFORE, (request.expires_at - request.created_at) / 2):
        return
    request.reminded_at = timezone.now()
    request.save(update_fields=["reminded_at"])
    RequestEvent.objects.create(
        request=request, kind=EventKind.REMINDER, text="Reviewers were reminded: it expires soon."
    )
    announcements.tell_of_reminder(request, policy)
