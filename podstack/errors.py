"""What can go wrong, as exceptions whose text says what to do next.

    PodstackError
    ├── AuthenticationError      no token, or one that the server does not take (401)
    ├── PermissionDeniedError    you may not do this (403)
    ├── NotFoundError            there is no such thing, or you may not see it (404)
    ├── ConflictError            the thing is in a state that does not allow this (409, 412)
    ├── ValidationError          a value is wrong, here or on the server (400, 413, 422)
    ├── ServerError              any other refusal (429 and 5xx after all retries)
    ├── ConnectionFailed         nobody answered at the endpoint
    ├── DigestMismatch           downloaded bytes are not the bytes that were stored
    └── DeploymentFailed         an endpoint did not become Active

`PodstackWarning` is what the SDK warns with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_ITEMS = 20  # told by `str()`; all are in `items`


class PodstackError(Exception):
    """Any failure of this SDK; `str()` of it is the message, the hint, and a line for each that stands in the way.

    `status` is the HTTP status (None where no server was asked), `code` the server's stable name of the
    failure, `errors` sentences by field, `items` what stands in the way, `request_id` what to quote to an
    operator.
    """

    default_code = "error"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "",
        status: int | None = None,
        request_id: str = "",
        errors: Mapping[str, Sequence[str]] | None = None,
        items: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.status = status
        self.request_id = request_id
        self.errors = dict(errors or {})
        self.items = list(items)

    def __str__(self) -> str:
        sentence = f"{self.message} {self.hint}".strip()
        lines = [str(item) for item in self.items if str(item) not in self.message]
        more = len(lines) - MOST_ITEMS
        lines = lines[:MOST_ITEMS] + ([f"and {more} more"] if more > 0 else [])
        return "\n".join([sentence, *(f"- {line}" for line in lines)])


class AuthenticationError(PodstackError):
    """There is no API token, or the server does not take it."""

    default_code = "not_authenticated"


class PermissionDeniedError(PodstackError):
    """The token's owner, role or scopes do not allow this."""

    default_code = "permission_denied"


class NotFoundError(PodstackError):
    """There is no such thing in this project, or you may not see it."""

    default_code = "not_found"


class ConflictError(PodstackError):
    """The thing exists already, or its state does not allow this."""

    default_code = "conflict"


class ValidationError(PodstackError):
    """A value cannot be taken; `errors` names the fields where the server named them."""

    default_code = "invalid"


class ServerError(PodstackError):
    """The server could not answer, or answered what this SDK does not understand."""

    default_code = "server_error"


class ConnectionFailed(PodstackError):
    """The endpoint could not be reached, or the connection broke and did not come back."""

    default_code = "connection_failed"


class DigestMismatch(PodstackError):
    """A downloaded file's bytes do not have the sha256 that the server stores them under."""

    default_code = "digest_mismatch"


class DeploymentFailed(PodstackError):
    """An endpoint is not Active; the message is the reason."""

    default_code = "deployment_failed"


class PodstackWarning(UserWarning):
    """Something worked, but not as one would expect; the text says what and why."""


BY_STATUS: Mapping[int, type[PodstackError]] = {
    400: ValidationError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    413: ValidationError,
    422: ValidationError,
}


def error_from_problem(status: int, problem: Mapping[str, Any]) -> PodstackError:
    """The exception for an HTTP status and its application/problem+json document (empty if it had none)."""
    kind = BY_STATUS.get(status, ServerError)
    errors, items = problem.get("errors"), problem.get("items")
    return kind(
        str(problem.get("detail") or problem.get("title") or f"The server answered with status {status}."),
        hint=str(problem.get("hint") or ""),
        code=str(problem.get("code") or ""),
        status=status,
        request_id=str(problem.get("request_id") or ""),
        errors=errors if isinstance(errors, Mapping) else None,
        items=items if isinstance(items, list) else (),
    )
