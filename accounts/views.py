"""Where a person lands."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.models import Project, User


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The model list of the viewer's first project; a page that says so to who has none."""
    assert isinstance(request.user, User)
    project = Project.objects.visible_to(request.user).first()
    if project is None:
        return render(request, "accounts/no_project.html")
    return redirect("registry:model_list", project=project.slug)
