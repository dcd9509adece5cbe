"""Every refusal of the REST API as application/problem+json (RFC 9457), mapped here once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InterfaceError, OperationalError, ProgrammingError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.response import Response

from common.errors import Busy, Denied, DomainError, Invalid, Missing, TooLarge, Unauthenticated
from common.problems import CONTENT_TYPE, body, headers

log = logging.getLogger(__name__)
NOT_THERE_YET = ("42P01", "42703")  # undefined table, undefined column: migrations are running


def handle_exception(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler: None lets an unknown error become a logged 500."""
    known = as_domain_error(error)
    if known is None:
        return None
    request = context.get("request")
    response = Response(
        body(known, request_id_of(request)), status=known.status, headers=headers(known, error)
    )
    response.content_type = CONTENT_TYPE
    return response


def as_domain_error(error: Exception) -> DomainError | None:
    """The DomainError that says what `error` means to the caller."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, exceptions.APIException):
        return _from_rest_framework(error)
    if isinstance(error, Http404):
        return Missing("There is nothing at this address.", "See /api/docs/ for what there is.")
    if isinstance(error, PermissionDenied):
        return Denied("You may not do this.")
    if isinstance(error, UnreadablePostError):
        return Invalid("The request's body ended before its announced length.", "Send it again.")
    if isinstance(error, RequestDataTooBig):
        return TooLarge("The request's body is larger than the server takes.")
    if isinstance(error, SuspiciousOperation | DataError | UnicodeError):
        return Invalid("The request holds a value that cannot be stored.", "Check its texts and numbers.")
    if isinstance(error, OperationalError | InterfaceError) or type(error).__name__ == "PoolTimeout":
        log.error("The database did not answer: %s", error)
        return Busy("The server is too busy to answer.", "Try again in a second.", retry_after=1)
    if isinstance(error, ProgrammingError) and getattr(error.__cause__, "sqlstate", "") in NOT_THERE_YET:
        log.error("The database is older than this code: %s", error)
        return Busy("The server is being brought up to date.", "Try again in a few seconds.", retry_after=2)
    return None


def _from_rest_framework(error: exceptions.APIException) -> DomainError:
    if isinstance(error, exceptions.ValidationError):
        fields = flatten(error.detail)
        name, sentences = next(iter(fields.items()), ("", [str(error)]))
        sentence = sentences[0]
        return Invalid(f"{name}: {sentence}" if name else sentence, fields=fields)
    detail = str(error.detail)
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return Unauthenticated(
            "This needs an API token.", "Send it in the header Authorization: Bearer podstack_…"
        )
    result = DomainError(detail, code=str(error.default_code))
    result.status, result.title = error.status_code, detail.rstrip(".")
    wait = getattr(error, "wait", None)
    if wait:
        result.retry_after = int(wait) + 1
    return result


def flatten(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Serializer errors as dotted field names: {"series.0.values": ["…"]}."""
    if isinstance(detail, Mapping):
        found: dict[str, list[str]] = {}
        for key, value in detail.items():
            name = path if key == "non_field_errors" else f"{path}.{key}".lstrip(".")
            found.update(flatten(value, name))
        return found
    if isinstance(detail, Sequence) and not isinstance(detail, str):
        found = {}
        for index, value in enumerate(detail):
            if isinstance(value, str):
                found.setdefault(path, []).append(str(value))
            elif value:
                found.update(flatten(value, f"{path}.{index}".lstrip(".")))
        return found
    return {path: [str(detail)]}


def problem_response(error: DomainError, request: HttpRequest) -> JsonResponse:
    """The same document outside of DRF, for plain Django views."""
    return JsonResponse(
        body(error, request_id_of(request)),
        status=error.status,
        content_type=CONTENT_TYPE,
        headers=headers(error),
    )


def request_id_of(request: Any) -> str:
    return str(getattr(request, "request_id", "") or "")
