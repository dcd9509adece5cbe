"""Errors that a serving process or the engine tells, each with one sentence."""

from __future__ import annotations

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

WRONG_KEY = "The request lacks the right X-Serving-Key; call the endpoint through the platform."


class Problem(Exception):
    """A request that cannot be answered: HTTP status and one sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail

    def as_dict(self) -> dict[str, object]:
        """The problem+json body."""
        title = TITLES.get(self.status, "Error")
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}


class CannotLoad(Exception):
    """A model that cannot be loaded; the text is the one sentence that people see."""
