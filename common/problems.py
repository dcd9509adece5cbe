"""A refusal as application/problem+json (RFC 9457), the same at every door."""

from __future__ import annotations

from typing import Any

from common.errors import DomainError

CONTENT_TYPE = "application/problem+json"
LONGEST_TEXT = 2000
MOST_FIELDS = 100


def body(error: DomainError, request_id: str) -> dict[str, Any]:
    """The problem document; `errors` and `items` only where there are some."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": tidy(error.message),
        "hint": tidy(error.hint),
        "request_id": request_id,
    }
    if error.fields:
        fields = list(error.fields.items())[:MOST_FIELDS]
        document["errors"] = {tidy(name): [tidy(each) for each in sentences] for name, sentences in fields}
    if error.items:
        document["items"] = [tidy(item) for item in error.items]
    return document


def tidy(text: str) -> str:
    """A text that may hold what the caller sent, as it can travel: cut, lone surrogates written as escapes."""
    cut = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    return cut.encode("utf-8", "backslashreplace").decode()


def headers(error: DomainError, origin: Exception | None = None) -> dict[str, str]:
    """Retry-After where waiting helps, WWW-Authenticate where a token is missing, and what DRF set (Allow)."""
    found = {}
    if error.retry_after is not None:
        found["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        found["WWW-Authenticate"] = 'Bearer realm="api"'
    return found
