"""Search from anywhere: a page of its own, and what the dialog shows."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from accounts.portal import ProjectPage
from registry.lookup import look_up


class Search(ProjectPage):
    """`?q=`; asked by htmx, only what was found, as options of a list."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        found = look_up(self.project, request.GET.get("q", ""))
        fragment = bool(request.htmx)  # type: ignore[attr-defined]
        return self.show("registry/search_options.html" if fragment else "registry/search.html", found=found)
