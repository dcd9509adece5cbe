"""The portal's pages."""

from __future__ import annotations

from django.urls import include, path

from accounts.views import home

IN_PROJECT = "projects/<slug:project>/"

urlpatterns = [
    path("", home, name="home"),
    path("", include("accounts.urls")),
    path(IN_PROJECT, include("registry.urls")),
    path(IN_PROJECT, include("approvals.urls")),
    path(IN_PROJECT, include("tracking.urls")),
    path(IN_PROJECT, include("scheduling.urls")),
    path(IN_PROJECT, include("deployments.urls")),
    path(IN_PROJECT, include("lineage.urls")),
]
