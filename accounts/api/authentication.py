"""Bearer tokens for programs; the portal's session for people who read /api/docs/."""

from __future__ import annotations

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from accounts import services
from accounts.models import ApiToken, User
from common.errors import Unauthenticated


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer podstack_…`. With this header no cookie is looked at."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if not parts:
            return None
        if len(parts) != 2 or parts[0].lower() != b"bearer":
            raise Unauthenticated(
                "The Authorization header must be: Bearer podstack_<prefix>_<secret>.", code="token_malformed"
            )
        slug = request.parser_context["kwargs"].get("project", "")
        keeps = request.method == "GET" and getattr(request.parser_context["view"], "keeps_pages", False)
        token = services.authenticate_token(parts[1].decode("latin-1"), slug, with_state=keeps)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "podstack_<prefix>_<secret>"}
