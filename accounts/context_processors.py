"""What the portal's frame shows on every page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Project


def frame(request: HttpRequest) -> dict[str, Any]:
    """`my_projects`: the viewer's projects, read only where a page shows them."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"my_projects": []}
    return {"my_projects": SimpleLazyObject(lambda: list(Project.objects.visible_to(user)))}
