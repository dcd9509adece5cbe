"""Who may review: people and groups that a policy names, else the project's maintainers and admins."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q, QuerySet

from accounts.choices import Role
from accounts.models import Membership, Project, User
from accounts.permissions import Actor
from approvals.may_review import WAITING
from approvals.models import ApprovalPolicy, ApprovalRequest, RunAuthor
from common import sql
from common.errors import Denied
from registry.models import ModelVersion
from tracking.models import Run

USUAL_ROLES = (Role.MAINTAINER, Role.ADMIN)


def reviewers_of(policy: ApprovalPolicy) -> QuerySet[User]:
    """The members of the project who may review under this policy."""
    members = Membership.objects.filter(project=policy.project_id, user__is_active=True)
    people = list(policy.reviewers.values_list("pk", flat=True))
    groups = list(policy.groups.values_list("pk", flat=True))
    if people or groups:
        members = members.filter(Q(user__in=people) | Q(user__groups__in=groups))
    else:
        members = members.filter(role__in=USUAL_ROLES)
    return User.objects.filter(pk__in=members.values("user")).order_by("username")


def reviewers_for(request: ApprovalRequest, policy: ApprovalPolicy) -> QuerySet[User]:
    """Those of them who may review this request."""
    found = reviewers_of(policy)
    if policy.own_review:
        return found
    return found.exclude(pk__in=own_people(request))


def own_people(request: ApprovalRequest) -> dict[int, str]:
    """Whose request it is, each by id, and what makes it theirs: they review it only where the policy says so."""
    return {
        **dict.fromkeys(_trainers(request.version), "had a part in training this version"),
        request.version.created_by_id: "made this version",
        request.requested_by_id: "asked for this move",
    }


def _trainers(version: ModelVersion) -> set[int]:
    """Whose work the version's files are. A copy, or what came back by a bundle, is theirs who trained the original."""
    trained = ModelVersion.objects.exclude(source_run=None)
    if version.source_run_id is None:
        trained = trained.filter(manifest=version.manifest_id, pk__lt=version.pk)
    else:
        trained = trained.filter(pk=version.pk)
    noted = RunAuthor.objects.filter(run__versions__in=trained).values_list("user")
    people = [*trained.values_list("created_by", "source_run__created_by"), *noted]
    return {person for row in people for person in row}


def require_reviewer(actor: Actor, request: ApprovalRequest, policy: ApprovalPolicy) -> None:
    """Denied to who may not review this request; the sentence says why."""
    own = own_people(request).get(actor.user.pk)
    if own and not policy.own_review:
        raise Denied(f"You {own}, so others must review it.", "Ask one of the reviewers.", code="own_request")
    if not reviewers_for(request, policy).filter(pk=actor.user.pk).exists():
        names = ", ".join(user.username for user in reviewers_for(request, policy)[:10])
        raise Denied(
            f"You are none of the reviewers of {request.public_id}.",
            f"They are {names}." if names else "",
            code="no_reviewer",
        )


def note_authors(run: Run, people: Iterable[User]) -> None:
    """Keeps whose work a run did: from now on they review no version of it."""
    RunAuthor.objects.bulk_create([RunAuthor(run=run, user=each) for each in people], ignore_conflicts=True)


def waiting_for(project: Project, user: User) -> list[int]:
    """The ids of the open requests that wait for this person's word."""
    statement = WAITING.replace("%(user)s", "%s").replace("%(project)s", "%s")
    names = [part.split(")")[0] for part in WAITING.split("%(")[1:]]
    values = {"user": user.pk, "project": project.pk}
    return [found[0] for found in sql.rows(statement, [values[name] for name in names])]
