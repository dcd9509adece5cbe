"""Protected aliases and stages: only named roles and groups may move them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.audit import record
from accounts.choices import Right, Role
from accounts.groups import find_groups, short_name
from accounts.models import Project
from accounts.permissions import Actor, require
from common import sql
from common.checks import shorten
from common.errors import Denied, Invalid, Missing
from registry.choices import Protected, Stage
from registry.models import Protection, RegisteredModel
from registry.names import check_alias
from registry.queries import find_model

# A model's own protection goes before the one for all models of the project.
RULES = """
    SELECT DISTINCT ON (p.name) p.name, p.roles,
           ARRAY(SELECT regexp_replace(g.name, '^.*/', '')
                 FROM registry_protection_groups pg JOIN auth_group g ON g.id = pg.group_id
                 WHERE pg.protection_id = p.id ORDER BY g.name),
           EXISTS (SELECT 1 FROM registry_protection_groups pg
                   JOIN accounts_user_groups ug ON ug.group_id = pg.group_id
                   WHERE pg.protection_id = p.id AND ug.user_id = %s)
    FROM registry_protection p
    WHERE p.project_id = %s AND (p.model_id IS NULL OR p.model_id = %s) AND p.kind = %s AND p.name = ANY(%s)
    ORDER BY p.name, p.model_id NULLS LAST
"""
USUAL_ROLES = (Role.MAINTAINER, Role.ADMIN)


@dataclass(frozen=True)
class Rule:
    """Who may move one alias or stage, and whether the actor is in one of the groups."""

    name: str
    roles: list[str]
    groups: list[str]
    by_group: bool


def rules_for(actor: Actor, model: RegisteredModel, kind: Protected, names: Iterable[str]) -> list[Rule]:
    """The protections of these aliases or stages of the model; those without one are left out."""
    params = [actor.user.pk, model.project_id, model.pk, str(kind), [str(name) for name in names]]
    return [Rule(*found) for found in sql.rows(RULES, params)]


def require_move(actor: Actor, model: RegisteredModel, kind: Protected, names: Iterable[str]) -> None:
    """Raises Denied when one of these aliases or stages is protected against the actor."""
    if actor.is_operator:
        return
    for rule in rules_for(actor, model, kind, names):
        if not rule.by_group and actor.role_in(model.project) not in rule.roles:
            raise Denied(
                f"The {kind} {rule.name} of {model.name} is protected: only {_who(rule)} may move it.",
                "Ask one of them.",
                code="protected",
            )


def _who(rule: Rule) -> str:
    return " and ".join(
        filter(
            None,
            [
                f"the roles {', '.join(rule.roles)}" if rule.roles else "",
                f"the groups {', '.join(rule.groups)}" if rule.groups else "",
            ],
        )
    )


def protections_of(project: Project) -> QuerySet[Protection]:
    """All protections of the project with what their answers show."""
    rows = Protection.objects.filter(project=project).filter(Q(model=None) | Q(model__deleted_at=None))
    return rows.select_related("model", "created_by").prefetch_related("groups")


def protect(
    *,
    actor: Actor,
    project: Project,
    kind: str,
    name: str,
    model_name: str | None = None,
    roles: Sequence[str] = USUAL_ROLES,
    groups: Sequence[str] = (),
) -> Protection:
    """Lets only these roles and groups move an alias or a stage: of one model, or without one of all models.

    Setting it again replaces who may.
    """
    require(actor, project, Right.MAINTAIN)
    wanted = Protected(_check_kind(kind))
    name = _check_name(wanted, name)
    known = find_groups(project, groups)
    roles = _check_roles(roles)
    if not roles and not known:
        raise Invalid.field("roles", "roles and groups are empty: nobody could move it any more.")
    model = find_model(project, model_name) if model_name is not None else None
    with transaction.atomic():
        row, _ = Protection.objects.update_or_create(
            project=project,
            model=model,
            kind=wanted,
            name=name,
            defaults={"roles": roles},
            create_defaults={"roles": roles, "created_by": actor.user},
        )
        row.groups.set(known)
        after = {"roles": roles, "groups": [short_name(group) for group in known]}
        record(actor, "protect", wanted, _label(row), project=project, after=after)
    return row


def unprotect(*, actor: Actor, project: Project, protection_id: int) -> None:
    """Takes a protection away."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        rows = Protection.objects.select_for_update(of=("self",)).select_related("model")
        row = rows.filter(project=project, pk=protection_id).first()
        if row is None:
            raise Missing(f"There is no protection {protection_id} in {project.slug}.")
        record(actor, "unprotect", row.kind, _label(row), project=project, before={"roles": row.roles})
        row.delete()


def _label(row: Protection) -> str:
    return f"{row.model.name}@{row.name}" if row.model else f"@{row.name}"


def _check_kind(kind: object) -> str:
    if kind not in Protected.values:
        raise Invalid.field("kind", f"kind is {shorten(kind)}; it must be alias or stage.")
    return str(kind)


def _check_name(kind: Protected, name: str) -> str:
    if kind == Protected.STAGE:
        found = next((stage.value for stage in Stage if stage.value.lower() == str(name).lower()), None)
        if found is None:
            stages = ", ".join(Stage.values)
            raise Invalid.field("name", f"name is {shorten(name)}; it must be one of {stages}.")
        return found
    return check_alias(name)


def _check_roles(roles: Sequence[str]) -> list[str]:
    if isinstance(roles, str) or any(role not in Role.values for role in roles):
        raise Invalid.field(
            "roles", f"roles is {shorten(list(roles))}; it must be a list of {', '.join(Role.values)}."
        )
    return sorted({str(role) for role in roles})
