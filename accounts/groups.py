"""Groups of people: a project's own, which its admins make, and those that operators make for all projects."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Prefetch, Q, QuerySet

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project, ProjectGroup, User
from accounts.permissions import Actor, require
from common.checks import check_pattern, shorten
from common.errors import Conflict, Invalid, Missing

NAME = re.compile(r"\w(?:[\w .-]{0,78}\w)?")
MOST_MEMBERS = 500


def short_name(group: Group) -> str:
    """What people call a group: a project's own is kept as `<slug>/<name>`."""
    return group.name.rpartition("/")[2]


def groups_seen_in(project: Project) -> QuerySet[Group]:
    """The operators' and the project's own; no other project's."""
    return Group.objects.filter(Q(of_project=None) | Q(of_project__project=project)).order_by("name")


def find_groups(project: Project, names: Sequence[str]) -> list[Group]:
    """The groups of these names, each once, the project's own first; Invalid names the first that is not there."""
    stored = [*names, *(_stored(project, name) for name in names)]
    rows = groups_seen_in(project).filter(name__in=stored).order_by(F("of_project").asc(nulls_first=True))
    found = {short_name(group): group for group in rows}
    for name in names:
        if name not in found:
            hint = "An admin of the project makes groups of its members."
            raise Invalid.field("groups", f"There is no group {shorten(name)}.", hint)
    return [found[name] for name in dict.fromkeys(names)]


def groups_of(project: Project) -> QuerySet[ProjectGroup]:
    """The project's own, by name, with who is in them."""
    people = Prefetch("group__user_set", User.objects.order_by("username"))
    rows = ProjectGroup.objects.filter(project=project).select_related("group").prefetch_related(people)
    return rows.order_by("group__name")


def find_group(project: Project, name: str) -> ProjectGroup:
    row = groups_of(project).filter(group__name=_stored(project, name)).first()
    if row is None:
        raise Missing(f"There is no group {shorten(name)} in {project.slug}.", "", code="group_not_found")
    return row


def set_group(*, actor: Actor, project: Project, name: str, members: Sequence[str]) -> ProjectGroup:
    """Makes a group of members, or says anew who is in one. Policies and protections of the project may name it."""
    require(actor, project, Right.ADMIN)
    check_pattern(
        "name", name, NAME, "letters, digits, and inner spaces, dots, hyphens and underscores", max_length=80
    )
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        people = _members(project, members)
        row = groups_of(project).filter(group__name=_stored(project, name)).first()
        before = None if row is None else {"members": [person.username for person in row.people]}
        if row is None:
            row = _made(project, name)
        row.group.user_set.set(people)
        after = {"members": [person.username for person in people]}
        record(actor, "set_group", "group", name, project=project, before=before, after=after)
    return find_group(project, name)


def delete_group(*, actor: Actor, project: Project, name: str) -> None:
    """Takes a group away that no policy and no protection names: theirs would mean somebody else without it."""
    require(actor, project, Right.ADMIN)
    try:
        with transaction.atomic():
            Project.objects.select_for_update().get(pk=project.pk)
            row = find_group(project, name)
            before = {"members": [person.username for person in row.people]}
            row.group.user_set.clear()
            row.delete()
            # Without Django's cascade: the database says whether anything still names it.
            Group.objects.filter(pk=row.group_id)._raw_delete("default")  # type: ignore[attr-defined]
            connection.check_constraints()
            record(actor, "delete_group", "group", name, project=project, before=before)
    except IntegrityError as error:
        raise Conflict(
            f"A policy or a protection names the group {name}.",
            "Take it out there first.",
            code="group_in_use",
        ) from error


def leave_groups(project: Project, user: User) -> None:
    """Who leaves a project leaves its groups."""
    user.groups.through.objects.filter(user=user, group__of_project__project=project).delete()


def _stored(project: Project, name: str) -> str:
    return f"{project.slug}/{name}"


def _made(project: Project, name: str) -> ProjectGroup:
    if Group.objects.filter(name=name).exists():
        raise Conflict(
            f"The operators have a group {name} already.", "Choose another name.", code="group_exists"
        )
    return ProjectGroup.objects.create(
        project=project, group=Group.objects.create(name=_stored(project, name))
    )


def _members(project: Project, names: Sequence[str]) -> list[User]:
    if isinstance(names, str) or not all(isinstance(name, str) and "\0" not in name for name in names):
        raise Invalid.field("members", f"members is {shorten(names)}; it must be a list of user names.")
    if len(names) > MOST_MEMBERS:
        raise Invalid.field("members", f"members has {len(names)} names; at most {MOST_MEMBERS} are allowed.")
    rows = User.objects.filter(memberships__project=project, username__in=list(names)).order_by("username")
    found = {user.username: user for user in rows}
    for name in names:
        if name not in found:
            raise Invalid.field(
                "members", f"{shorten(name)} is no member of {project.slug}.", "Add them as a member first."
            )
    return list(found.values())
