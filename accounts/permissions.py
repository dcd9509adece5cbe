"""One policy for all doors: what an actor may do in a project."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from accounts.choices import Door, Right, Role, Scope
from accounts.models import ApiToken, Membership, Project, User
from common.errors import Denied, Missing

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLE_RIGHTS: Mapping[str, frozenset[Right]] = {
    # Whom a policy names may review, whatever the role.
    Role.VIEWER: frozenset({Right.READ, Right.PREDICT, Right.REVIEW}),
    Role.CONTRIBUTOR: frozenset({Right.READ, Right.PREDICT, Right.REVIEW, Right.WRITE}),
    Role.MAINTAINER: frozenset(set(Right) - {Right.ADMIN}),
    Role.ADMIN: frozenset(Right),
}
SCOPE_RIGHTS: Mapping[str, frozenset[Right]] = {
    Scope.READ: frozenset({Right.READ}),
    Scope.PREDICT: frozenset({Right.PREDICT}),
    Scope.WRITE: frozenset(set(Right) - {Right.ADMIN}),
    Scope.ADMIN: frozenset(Right),
}
SYSTEM_USERNAME = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, by which door and with which token; every verb takes one."""

    user: User
    door: Door
    token: ApiToken | None = None
    request_id: str = ""
    _roles: dict[int, str | None] = field(default_factory=dict, compare=False, repr=False)

    def role_in(self, project: Project) -> str | None:
        """This user's role in `project`, or None where the user, or the token, has no part in it."""
        if self.token is not None and self.token.project_id not in (None, project.pk):
            return None
        if project.pk not in self._roles:
            found = Membership.objects.filter(project=project, user=self.user).order_by("pk")
            self._roles[project.pk] = found.values_list("role", flat=True).first()
        return self._roles[project.pk]

    @property
    def is_operator(self) -> bool:
        """The system's own jobs and commands, and superusers inside the admin, act in every project."""
        by_admin = self.door == Door.ADMIN and self.user.is_superuser and self.user.is_active
        return self.user.is_system or by_admin


def system_actor(door: Door = Door.JOB) -> Actor:
    """The named system user that jobs and commands act as."""
    user, _ = User.objects.get_or_create(
        username=SYSTEM_USERNAME, defaults={"is_system": True, "is_active": False, "password": "!"}
    )
    return Actor(user=user, door=door)


def may(actor: Actor, project: Project, right: Right) -> bool:
    """Whether `actor` has `right` in `project`; no error, for pages that hide buttons."""
    if actor.is_operator:
        return True
    role = actor.role_in(project)
    return role is not None and right in ROLE_RIGHTS[role] and _token_allows(actor, right)


def require(actor: Actor, project: Project, right: Right) -> None:
    """Raises Missing to who is no member, Denied to a member without the right."""
    if may(actor, project, right):
        return
    role = actor.role_in(project)
    if role is None:
        raise Missing(f"There is no project {project.slug!r} that you can see.")
    if not _token_allows(actor, right):
        scopes = ", ".join(actor.token.scopes) if actor.token else ""
        raise Denied(
            f"This token may not {right.label}: its scopes are {scopes}.",
            "Make a token with the scope that this needs.",
            code="scope_missing",
        )
    raise Denied(
        f"As a {role} of {project.slug} you may not {right.label}.",
        "Ask an admin of the project for a higher role.",
        code="role_too_low",
    )


def _token_allows(actor: Actor, right: Right) -> bool:
    return actor.token is None or any(right in SCOPE_RIGHTS[scope] for scope in actor.token.scopes)


def find_project(actor: Actor, slug: str) -> Project:
    """The project with this slug, or Missing: to who is no member it does not exist."""
    project = _reached(actor, slug) or Project.objects.filter(slug=slug).first()
    if project is None or not (actor.is_operator or actor.role_in(project)):
        raise Missing(
            f"There is no project {slug[:63]!r} that you can see.",
            "Check the name, or ask one of its admins to add you.",
            code="project_not_found",
        )
    return project


def _reached(actor: Actor, slug: str) -> Project | None:
    """The project as the token's own check read it, with the user's role."""
    project, role = (actor.token and actor.token.reached) or (None, None)
    if project is None or project.slug != slug:
        return None
    actor._roles[project.pk] = role
    return project
