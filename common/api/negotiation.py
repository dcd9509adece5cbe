"""In which form answers go, and bodies come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from common.checks import shorten
from common.errors import DomainError


class OneForm(DefaultContentNegotiation):
    """Each address answers in the form that its description names, whatever Accept says.

    DRF knows of JSON alone: it would refuse who asks for the CSV or the bytes that they would get.
    """

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, str(first.media_type)

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> Any:
        """The parser of this body, or a refusal that says what would be read."""
        coding = request.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise unread(f"Content-Encoding is {shorten(coding)}; a body must come as it is, without one.")
        found = super().select_parser(request, parsers)
        if found is None:
            known = " or ".join(str(parser.media_type) for parser in parsers)
            raise unread(f"Content-Type is {shorten(request.content_type)}; it must be {known}.")
        return found


def unread(sentence: str) -> DomainError:
    error = DomainError(sentence, code="unsupported_media_type")
    error.status, error.title = 415, "Unsupported media type"
    return error
