"""Verbs on policies: who must approve which move, and what holds for Production."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.groups import find_groups, short_name
from accounts.models import Project, User
from accounts.permissions import Actor, require
from approvals.announcements import tell_of_end
from approvals.checks import check_rules
from approvals.choices import RequestState
from approvals.models import ApprovalPolicy, ApprovalRequest, PromotionRules
from approvals.reviewers import reviewers_of
from common import sql
from common.checks import shorten
from common.errors import Conflict, Invalid, Missing
from registry.choices import Stage
from registry.locks import lock_version
from registry.models import ModelVersion, RegisteredModel
from registry.queries import find_model

MOST_APPROVALS = 20
MOST_DAYS = 365
MOST_REVIEWERS = 100
LOCK_SPACE = 0x504F4C  # "POL": the first half of the key under which a project's promotion rules are locked
RULES_HELD = "SELECT pg_advisory_xact_lock_shared(%s, %s)"
RULES_CHANGED = "SELECT pg_advisory_xact_lock(%s, %s)"


def set_approval_policy(
    *,
    actor: Actor,
    project: Project,
    stage: str = Stage.PRODUCTION,
    model_name: str | None = None,
    approvals_needed: int = 1,
    reviewers: Sequence[str] = (),
    groups: Sequence[str] = (),
    own_review: bool = False,
    bypass: bool = False,
    expires_days: int = 14,
    checks: Sequence[Any] = (),
) -> ApprovalPolicy:
    """From now on a move to `stage` waits for so many approvals: of one model, or of all models of the project.

    Setting it again replaces all of it; open requests follow it. `reviewers` are names of members, `groups` names
    of groups; without either every maintainer and admin may review. `expires_days` from 1 to 365.
    """
    require(actor, project, Right.MAINTAIN)
    target = check_stage(stage)
    words = {
        "approvals_needed": _whole("approvals_needed", approvals_needed, 1, MOST_APPROVALS),
        "expires_days": _whole("expires_days", expires_days, 1, MOST_DAYS),
        "own_review": bool(own_review),
        "bypass": bool(bypass),
        "checks": check_rules(checks),
        "updated_at": timezone.now(),
    }
    people, known = _people(project, reviewers), _groups(project, groups)
    model = find_model(project, model_name) if model_name is not None else None
    with transaction.atomic():
        there = ApprovalPolicy.objects.select_for_update(of=("self",))
        old = there.filter(project=project, model=model, stage=target).first()
        before = None if old is None else facts(old)
        policy, _ = ApprovalPolicy.objects.update_or_create(
            project=project,
            model=model,
            stage=target,
            defaults=words,
            create_defaults={**words, "created_by": actor.user},
        )
        policy.reviewers.set(people)
        policy.groups.set(known)
        _check_enough(policy)
        after = facts(policy)
        record(
            actor, "set_approval_policy", "policy", label(policy), project=project, before=before, after=after
        )
    return policy


def delete_approval_policy(*, actor: Actor, project: Project, policy_id: int) -> None:
    """Moves that it covered apply at once again; requests that no other policy covers are Superseded."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        requests = _locked_requests(policy_id)
        rows = ApprovalPolicy.objects.select_for_update(of=("self",)).select_related("model", "project")
        policy = rows.filter(project=project, pk=policy_id).first()
        if policy is None:
            raise Missing(
                f"There is no approval policy {policy_id} in {project.slug}.", code="policy_not_found"
            )
        before, name = facts(policy), label(policy)
        if _waiting(policy_id).exclude(pk__in=[request.pk for request in requests]).exists():
            raise Conflict("Somebody asked for approval this moment.", "Try again.", code="policy_in_use")
        policy.delete()
        for request in requests:
            _follow(request, actor)
        record(actor, "delete_approval_policy", "policy", name, project=project, before=before)


def _waiting(policy_id: int) -> QuerySet[ApprovalRequest]:
    return ApprovalRequest.objects.filter(policy=policy_id, state=RequestState.PENDING)


def _locked_requests(policy_id: int) -> list[ApprovalRequest]:
    """The policy's open requests, locked after their models and versions, in the order that reviews take."""
    found = []
    for pk, version_id in _waiting(policy_id).order_by("version_id").values_list("pk", "version_id"):
        if ModelVersion.objects.alive().filter(pk=version_id).exists():
            lock_version(version_id)
        rows = _waiting(policy_id).select_for_update(of=("self",))
        rows = rows.select_related("version__model", "requested_by", "project")
        found += list(rows.filter(pk=pk))
    return found


def _follow(request: ApprovalRequest, actor: Actor) -> None:
    """A request whose policy is gone: the project's own takes it over, or nothing is left to wait for."""
    other = policy_for(request.version.model, Stage(request.to_stage))
    if other is not None:
        request.policy, request.approvals_needed = other, other.approvals_needed
        request.save(update_fields=["policy", "approvals_needed"])
        return
    request.state = RequestState.SUPERSEDED
    request.reason = "The policy was removed: ask again, and it applies at once."
    request.decided_by, request.decided_at = actor.user, timezone.now()
    request.save(update_fields=["state", "reason", "decided_by", "decided_at"])
    after = {"state": request.state, "reason": request.reason}
    record(actor, "supersede_approval", "approval", request.public_id, project=request.project, after=after)
    tell_of_end(request)


def set_promotion_rules(
    *,
    actor: Actor,
    project: Project,
    one_production: bool | None = None,
    archive_previous: bool | None = None,
) -> PromotionRules:
    """What holds for Production in the project; None leaves one as it is.

    one_production: at most one version of a model stands there. Conflict lists the models that have more now.
    archive_previous: what stood there is archived when another one arrives, unless the request says otherwise.
    """
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        sql.rows(RULES_CHANGED, [LOCK_SPACE, project.pk])
        rules, _ = PromotionRules.objects.get_or_create(project=project)
        before = rule_facts(rules)
        if archive_previous is not None:
            rules.archive_previous = archive_previous
        if one_production is not None and one_production != rules.one_production:
            rules.one_production = one_production
            _mark_sole(project, one_production)
        rules.save()
        if rule_facts(rules) != before:
            record(
                actor,
                "set_promotion_rules",
                "project",
                project.slug,
                project=project,
                before=before,
                after=rule_facts(rules),
            )
    return rules


def promotion_rules(project: Project) -> PromotionRules:
    """The project's rules, or those that hold where none were set."""
    return PromotionRules.objects.filter(project=project).first() or PromotionRules(project=project)


def hold_rules(project: Project) -> None:
    """Until the transaction ends, nobody changes the project's promotion rules. Taken before any row is locked."""
    sql.rows(RULES_HELD, [LOCK_SPACE, project.pk])


def policy_for(model: RegisteredModel, stage: Stage) -> ApprovalPolicy | None:
    """The policy that covers a move to `stage`: the model's own before the project's."""
    rows = ApprovalPolicy.objects.filter(project=model.project_id, stage=stage)
    rows = rows.filter(Q(model=None) | Q(model=model))
    return rows.order_by("model_id").first()  # PostgreSQL sorts NULL last


def kept_policy(model: RegisteredModel, stage: Stage, policy_id: int | None) -> ApprovalPolicy | None:
    """The policy that covers a move, which nobody removes before the transaction ends.

    One that was removed while its lock was waited for leaves the move to the next that covers it.
    """
    while policy_id is not None:
        rows = ApprovalPolicy.objects.select_for_update(no_key=True, of=("self",))
        policy = rows.filter(pk=policy_id).first()
        if policy is not None:
            return policy
        other = policy_for(model, stage)
        policy_id = None if other is None else other.pk
    return None


def policies_of(project: Project) -> QuerySet[ApprovalPolicy]:
    """All policies of the project with what their answers show."""
    rows = ApprovalPolicy.objects.filter(project=project).filter(Q(model=None) | Q(model__deleted_at=None))
    return rows.select_related("model", "created_by").prefetch_related("reviewers", "groups")


def facts(policy: ApprovalPolicy) -> dict[str, Any]:
    """What a policy says, as JSON."""
    return {
        "approvals_needed": policy.approvals_needed,
        "reviewers": sorted(user.username for user in policy.reviewers.all()),
        "groups": sorted(short_name(group) for group in policy.groups.all()),
        "own_review": policy.own_review,
        "bypass": policy.bypass,
        "expires_days": policy.expires_days,
        "checks": policy.checks,
    }


def rule_facts(rules: PromotionRules) -> dict[str, bool]:
    return {"one_production": rules.one_production, "archive_previous": rules.archive_previous}


def label(policy: ApprovalPolicy) -> str:
    return f"{policy.model.name if policy.model else '*'}: {policy.stage}"


def check_stage(stage: object, field: str = "stage") -> Stage:
    """The stage that is meant, in any case of letters."""
    for known in Stage:
        if isinstance(stage, str) and stage.lower() == known.value.lower():
            return known
    raise Invalid.field(field, f"{field} is {shorten(stage)}; it must be one of {', '.join(Stage.values)}.")


def _mark_sole(project: Project, wanted: bool) -> None:
    """Those in the trash too: they come back by the rule that holds then."""
    versions = ModelVersion.objects.filter(model__project=project, stage=Stage.PRODUCTION)
    if not wanted:
        versions.update(is_sole=False)
        return
    standing = versions.filter(deleted_at=None)
    crowded = standing.values("model__name").annotate(n=Count("pk")).filter(n__gt=1).order_by("model__name")
    names = [f"{each['model__name']}: {each['n']} versions" for each in crowded[:100]]
    if names:
        raise Conflict(
            f"{len(names)} models have more than one version in Production.",
            "Move all but one of each to Archived first.",
            code="crowded_production",
            items=names,
        )
    try:
        with transaction.atomic():
            versions.update(is_sole=True)
    except IntegrityError as error:
        raise Conflict("A version moved to Production this moment.", "Try again.") from error


def _check_enough(policy: ApprovalPolicy) -> None:
    people = reviewers_of(policy).count()
    if people < policy.approvals_needed:
        raise Invalid.field(
            "approvals_needed",
            f"approvals_needed is {policy.approvals_needed}; only {people} may review.",
            "Name more reviewers, or ask for fewer approvals.",
        )


def _whole(field: str, value: object, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        message = f"{field} is {shorten(value)}; it must be a whole number from {lowest} to {highest}."
        raise Invalid.field(field, message)
    return value


def _people(project: Project, names: Sequence[str]) -> list[User]:
    _check_names("reviewers", names)
    members = User.objects.filter(memberships__project=project, username__in=list(names))
    found = {user.username: user for user in members}
    for name in names:
        if name not in found:
            raise Invalid.field(
                "reviewers", f"{shorten(name)} is no member of {project.slug}.", "Add them as a member first."
            )
    return list(found.values())


def _groups(project: Project, names: Sequence[str]) -> list[Group]:
    _check_names("groups", names)
    return find_groups(project, names)


def _check_names(field: str, names: Sequence[str]) -> None:
    if isinstance(names, str) or not all(isinstance(name, str) and "\0" not in name for name in names):
        raise Invalid.field(field, f"{field} is {shorten(names)}; it must be a list of names.")
    if len(names) > MOST_REVIEWERS:
        raise Invalid.field(field, f"{field} has {len(names)} entries; at most {MOST_REVIEWERS} are allowed.")
