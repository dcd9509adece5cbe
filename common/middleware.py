"""A request id for every request, and the headers that keep pages safe."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    f"form-action 'self' {settings.SIGN_IN_ORIGIN}".rstrip()  # a form leads on to the provider that people sign in with
)
# The admin's theme and the API's documentation page bring styles of their own inside the page.
LOOSE_CSP = CSP + "; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval'"
LOOSE_PATHS = ("/admin/", "/api/docs/")

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def request_id(get_response: GetResponse) -> GetResponse:
    """Takes X-Request-ID from the caller where it is harmless, else makes one; answers and logs carry it."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        identity = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        request.request_id = identity  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=identity)
        response = get_response(request)
        response["X-Request-ID"] = identity
        return response

    return middleware


def content_policy(get_response: GetResponse) -> GetResponse:
    """The Content-Security-Policy of every page; an answer that set a stricter one keeps it."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        loose = request.path.startswith(LOOSE_PATHS)
        response.headers.setdefault("Content-Security-Policy", LOOSE_CSP if loose else CSP)
        return response

    return middleware
