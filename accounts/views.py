"""Where a person lands, and the projects to choose from."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from accounts.context_processors import LAST_PROJECT, last_membership
from accounts.models import Membership, User
from accounts.portal import PersonPage
from common.heads import Sorting

PROJECT_COLUMNS = {
    "name": ("Project", "project__name"),
    "slug": ("Address", "project__slug"),
    "role": ("My role", "role"),
    "created_at": ("Member since", "created_at"),
}
SHOWN_IN_MENU = 8


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The model list of the project that the viewer was in last; a page that says so to who has none."""
    assert isinstance(request.user, User)
    there = last_membership(request, request.user)
    if there is None:
        return render(request, "accounts/no_project.html")
    return redirect("registry:model_list", project=there.project.slug)


class ProjectList(PersonPage):
    """The viewer's projects, searched by `?q=`; as a fragment, those that fit into the switcher's menu."""

    def get(self, request: HttpRequest) -> HttpResponse:
        query = request.GET.get("q", "").replace("\0", "").strip()
        rows = Membership.objects.filter(user=self.person).select_related("project")
        if query:
            rows = rows.filter(project__name__icontains=query) | rows.filter(project__slug__icontains=query)
        if request.htmx:  # type: ignore[attr-defined]
            found = list(rows.order_by("project__name", "project__slug")[: SHOWN_IN_MENU + 1])
            return render(
                request,
                "accounts/project_menu.html" if "q" not in request.GET else "accounts/project_options.html",
                {
                    "found": found[:SHOWN_IN_MENU],
                    "more": len(found) > SHOWN_IN_MENU,
                    "q": query,
                    "here": request.COOKIES.get(LAST_PROJECT),
                },
            )
        sorting = Sorting.of(request, PROJECT_COLUMNS, "name")
        page = self.page_of(rows.order_by(*sorting.order))
        return self.show("accounts/project_list.html", page=page, q=query, sorting=sorting)
