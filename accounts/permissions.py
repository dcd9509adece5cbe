"""One policy for all doors: what an actor may do in a project."""

from __future__ import annotations

from dataclasses import dataclass, field

from accounts.choices import Door, Right
from accounts.models import ApiToken, Membership, Project, User
from accounts.rights import (
    ROLE_RIGHTS,
    deactivated,
    no_project,
    only_its_run,
    role_too_low,
    scope_missing,
    scopes_allow,
)
from common import sql
from common.errors import Missing

SYSTEM_USERNAME = "system"
# What was done in the project so far as one text, another one after each change that lists of it could show: the head
# of the chain of its audit entries, and the counts of what changes without an entry.
STATE = """(
    SELECT concat(
        (SELECT s.hash FROM accounts_auditseal s WHERE s.chain = p.id ORDER BY s.position DESC LIMIT 1), ' ',
        (SELECT c.count FROM accounts_change c WHERE c.chain = p.id), ' ',
        (SELECT c.count FROM accounts_change c WHERE c.chain = 0))
)"""
# A project with that and with a user's role in it.
SEEN = """
    SELECT m.role, NULL, {p}
    FROM accounts_project p LEFT JOIN accounts_membership m ON m.project_id = p.id AND m.user_id = %s
    WHERE p.slug = %s
""".replace("NULL", STATE, 1)
RUN_RIGHTS = (Right.READ, Right.WRITE)  # of the token of a run's own process, whoever's rights it trains with


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, by which door and with which token; every verb takes one."""

    user: User
    door: Door
    token: ApiToken | None = None
    request_id: str = ""
    _roles: dict[int, str | None] = field(default_factory=dict, compare=False, repr=False)

    def role_in(self, project: Project) -> str | None:
        """This user's role in `project`, or None where the user, or the token, has no part in it.

        A deactivated user has none anywhere: jobs act as people who were asked long ago.
        """
        bound = self.token is not None and self.token.project_id not in (None, project.pk)
        if bound or not self.user.is_active:
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
    allowed = actor.token is None or _allows(actor.token, right)
    return allowed and role is not None and right in ROLE_RIGHTS[role]


def require(actor: Actor, project: Project, right: Right) -> None:
    """Raises Missing to who is no member, Denied to a member without the right."""
    if may(actor, project, right):
        return
    if not actor.user.is_active:
        raise deactivated(actor.user.username)
    role = actor.role_in(project)
    if role is None:
        raise Missing(f"There is no project {project.slug!r} that you can see.")
    token = actor.token
    if token is not None and not _allows(token, right):
        raise only_its_run(token.only_run) if token.only_run else scope_missing(token.scopes, right)
    raise role_too_low(role, project.slug, right)


def _allows(token: ApiToken, right: Right) -> bool:
    return scopes_allow(token.scopes, right) and (not token.only_run or right in RUN_RIGHTS)


def find_project(actor: Actor, slug: str) -> Project:
    """The project with this slug, or Missing: to who is no member it does not exist."""
    project = _reached(actor, slug) or _looked_up(actor, slug)
    if project is None or not (actor.is_operator or actor.role_in(project)):
        raise no_project(slug)
    return project


def _reached(actor: Actor, slug: str) -> Project | None:
    """The project as the token's own check read it, with the user's role."""
    project, role = (actor.token and actor.token.reached) or (None, None)
    if project is None or project.slug != slug:
        return None
    actor._roles[project.pk] = role
    return project


def _looked_up(actor: Actor, slug: str) -> Project | None:
    """The project with its state and, where no token limits it, the user's role there, by one query."""
    found = sql.row(sql.expand(SEEN, p=Project), [actor.user.pk, slug])
    if found is None:
        return None
    project = sql.instance(Project, found[2:])
    project.state = found[1]
    if actor.token is None:
        actor._roles[project.pk] = found[0]
    return project
