"""The errors that a verb may raise; each door maps them once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class DomainError(Exception):
    """A refusal that the person or program at the door can act on.

    message: one whole sentence saying what is wrong, with the value at fault.
    hint: one sentence saying what to do instead, or "".
    code: stable, for programs; snake_case.
    fields: field name -> sentences, where a field is at fault.
    items: what stands in the way, a line each.
    """

    status = 400
    title = "Invalid"
    default_code = "invalid"

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str = "",
        fields: Mapping[str, Sequence[str]] | None = None,
        items: Sequence[str] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.fields = dict(fields or {})
        self.items = list(items)
        self.retry_after = retry_after


class Invalid(DomainError):
    """The input is wrong: 400."""

    @classmethod
    def field(cls, name: str, message: str, hint: str = "", *, code: str = "") -> Invalid:
        """An Invalid about one field; `message` names the field and its value."""
        return cls(message, hint, code=code, fields={name: [message]})


class Unauthenticated(DomainError):
    """Nobody, or a token that is not good: 401."""

    status = 401
    title = "Not signed in"
    default_code = "unauthenticated"


class Denied(DomainError):
    """A member who may not do this: 403."""

    status = 403
    title = "Not allowed"
    default_code = "denied"


class Missing(DomainError):
    """Not there, or not for these eyes: 404."""

    status = 404
    title = "Not found"
    default_code = "not_found"


class Conflict(DomainError):
    """The state of things forbids it: 409."""

    status = 409
    title = "Conflict"
    default_code = "conflict"


class TooLarge(DomainError):
    """More bytes than the server takes: 413."""

    status = 413
    title = "Too large"
    default_code = "too_large"


class TooMany(DomainError):
    """More requests than one caller may send: 429 with Retry-After."""

    status = 429
    title = "Too many requests"
    default_code = "rate_limited"


class Busy(DomainError):
    """Right, but not now: 503 with Retry-After."""

    status = 503
    title = "Not available now"
    default_code = "busy"
