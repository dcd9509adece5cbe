"""The error pages: problem+json where programs ask, a page with a way out where people do."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from common.api.problems import as_domain_error, problem_response
from common.errors import Busy, Denied, DomainError, Invalid, Missing
from common.problems import headers

PROGRAM_PATHS = ("/api/", "/serve/")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, Invalid("The request could not be understood."))


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, Denied("You may not do this."))


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """What a form without its secret gets: one of another site, or one that was open too long."""
    return _answer(
        request,
        Denied(
            "The form was open too long, or came from another site.",
            "Go back, reload the page and send it again; cookies must be allowed.",
        ),
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    hint = "See /api/docs/ for what there is." if request.path.startswith(PROGRAM_PATHS) else ""
    return _answer(request, Missing("There is nothing at this address.", hint))


def server_error(request: HttpRequest) -> HttpResponse:
    """Called while the failure is handled: a database that is away is told as such, whoever needed it first."""
    failure = sys.exc_info()[1]
    known = as_domain_error(failure) if isinstance(failure, Exception) else None
    if isinstance(known, Busy):
        return _answer(request, known)
    error = DomainError(
        "The server made an error. It was logged under this request's id.", code="server_error"
    )
    error.status, error.title = 500, "Server error"
    return _answer(request, error)


def _answer(request: HttpRequest, error: DomainError) -> HttpResponse:
    if request.path.startswith(PROGRAM_PATHS):
        return problem_response(error, request)
    response = render(request, f"{error.status}.html", {"error": error}, status=error.status)
    for name, value in headers(error).items():
        response[name] = value
    return response
