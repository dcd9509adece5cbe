"""What an endpoint's address answers when it has no prediction to give."""

from __future__ import annotations

from common.checks import shorten
from common.errors import Busy, DomainError, Missing


class NotLive(Busy):
    """Nothing answers at this endpoint now: 503."""

    default_code = "endpoint_not_live"


class Refused(DomainError):
    """The serving process refused the input; carries its status, 400 to 499."""

    title = "Refused by the model"
    default_code = "input_refused"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BadAnswer(DomainError):
    """The model raised, or its process answered with something that is no answer: 502."""

    status = 502
    title = "The model failed"
    default_code = "model_failed"


class TooSlow(DomainError):
    """The model did not answer in time: 504."""

    status = 504
    title = "No answer in time"
    default_code = "model_too_slow"


class WrongMethod(DomainError):
    """An address that takes another method: 405."""

    status = 405
    title = "Method not allowed"
    default_code = "method_not_allowed"

    def __init__(self, method: str, allowed: str, hint: str) -> None:
        super().__init__(f"{method} is not allowed here.", hint)
        self.allowed = allowed


class TooMany(DomainError):
    """More requests a second than the endpoint takes: 429."""

    status = 429
    title = "Too many requests"
    default_code = "rate_limited"


def no_endpoint(slug: str, endpoint_name: str) -> Missing:
    """To members: the project has no endpoint of this name."""
    return Missing(
        f"There is no endpoint {shorten(endpoint_name)} in {slug}.",
        "Deploy a version to it first, or check the name.",
        code="deployment_not_found",
    )
