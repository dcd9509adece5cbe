"""What the portal's frame shows on every page, read only where a page shows it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership, User
from accounts.sections import sections_of

LAST_PROJECT = "project"  # the cookie that remembers where a person was


def frame(request: HttpRequest) -> dict[str, Any]:
    """On pages that belong to no project: the viewer's last one, its sections, and the viewer's role in it.

    Nothing is read before a template asks: the page of a server error asks for none of it.
    """
    last = SimpleLazyObject(lambda: _last(request))
    return {
        "project": SimpleLazyObject(lambda: last.project if last else None),
        "role": SimpleLazyObject(lambda: last.role if last else ""),
        "sections": SimpleLazyObject(lambda: sections_of(last.project, last.user) if last else []),
    }


def _last(request: HttpRequest) -> Membership | None:
    user = getattr(request, "user", None)
    return last_membership(request, user) if isinstance(user, User) else None


def last_membership(request: HttpRequest, user: User) -> Membership | None:
    """Where the person was last, if still a member, else the first of their projects."""
    mine = Membership.objects.filter(user=user).select_related("project", "user").order_by("project__slug")
    slug = request.COOKIES.get(LAST_PROJECT, "")
    there = mine.filter(project__slug=slug).first() if slug and "\0" not in slug else None
    return there or mine.first()
