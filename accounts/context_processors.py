"""What the portal's frame shows on every page, read only where a page shows it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership, Project, User
from accounts.sections import Shown, sections_of

LAST_PROJECT = "project"  # the cookie that remembers where a person was


def frame(request: HttpRequest) -> dict[str, Any]:
    """On pages that belong to no project: the viewer's last one, its sections, and the viewer's role in it."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {}
    last = SimpleLazyObject(lambda: last_membership(request, user))
    return {
        "project": SimpleLazyObject(lambda: last.project if last else None),
        "role": SimpleLazyObject(lambda: last.role if last else ""),
        "sections": SimpleLazyObject(lambda: _sections(last.project, user) if last else []),
    }


def last_membership(request: HttpRequest, user: User) -> Membership | None:
    """Where the person was last, if still a member, else the first of their projects."""
    mine = Membership.objects.filter(user=user).select_related("project").order_by("project__slug")
    slug = request.COOKIES.get(LAST_PROJECT, "")
    there = mine.filter(project__slug=slug).first() if slug and "\0" not in slug else None
    return there or mine.first()


def _sections(project: Project, user: User) -> list[Shown]:
    return sections_of(project, user)
