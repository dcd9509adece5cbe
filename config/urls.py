"""All doors under one roof."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from accounts.api.views import MeView
from common import health
from deployments import model_files
from registry.api.bundle_views import BundleKeyView

# Operators have the same second factor as everybody.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
PROJECT_API = "api/v1/projects/<slug:project>/"
# What programs ask for most comes first: addresses are tried in this order.
ROOMS = ("registry", "approvals", "tracking", "artifacts", "accounts", "scheduling", "deployments", "lineage")

urlpatterns = [
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("api/v1/me", MeView.as_view()),
    path("api/v1/bundle-key", BundleKeyView.as_view()),
    path(PROJECT_API, include([path("", include(f"{room}.api.urls")) for room in ROOMS])),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="api-docs"),
    path("api/v1/services/<str:service_id>/files", model_files.service_files, name="service_files"),
    path("api/v1/services/<str:service_id>/files/<str:sha256>", model_files.service_file),
    path("admin/", admin.site.urls),
    # The address is changed on the profile's page, which asks for the password.
    path("account/email/", RedirectView.as_view(pattern_name="accounts:profile"), name="account_email"),
    path("account/", include("allauth.account.urls")),
    path("account/2fa/", include("allauth.mfa.urls")),
    path("account/sso/", include("allauth.socialaccount.urls")),
    path("account/sso/", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("", include("config.portal_urls")),
]

handler400 = "common.pages.bad_request"
handler403 = "common.pages.forbidden"
handler404 = "common.pages.not_found"
handler500 = "common.pages.server_error"
