"""One request as ASGI hands it over, and how it is answered."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any

from common.errors import DomainError, Invalid, TooLarge
from common.problems import CONTENT_TYPE, body
from deployments.errors import WrongMethod
from gateway.room import Bodies, Places

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
BODY_SECONDS = 60.0
SLOWEST = (
    64 * 1024
)  # bytes a second after the first ones: a large body has more time, one that only drips has not
JSON = b"application/json"


class NotTaken(Exception):
    """The caller takes nothing of its answer: no fault of the model's."""


class Request:
    """What was asked: reads the body, sends the answer."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.authorization = b""
        self.length: int | None = None
        self.begun = False
        self.held = 0
        self.places: Places | None = None
        self._comes = False  # whether a part of the body came, and not yet all
        given = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                self.authorization = value
            elif name == b"content-length":
                self.length = int(value)
            elif name == b"x-request-id":
                given = value
        self.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8).encode()

    async def body(self, limit: int, bodies: Bodies, seconds: float = BODY_SECONDS) -> bytes:
        """All of the body, its size `held` among the `bodies`; it has `seconds`, and one more for each SLOWEST bytes.

        Raises TooLarge, Busy, or Invalid when it ends too early or comes too slowly.
        """
        if self.length is not None and self.length > limit:
            raise _too_large(limit)
        until = monotonic() + seconds
        first = await self._next(seconds)
        content: bytes = first.get("body", b"")
        self._hold(len(content), limit, bodies)
        if not first.get("more_body"):
            return content
        kept, self._comes = bytearray(content), True
        while self._comes:
            message = await self._next(until + len(kept) / SLOWEST - monotonic())
            piece = message.get("body", b"")
            self._hold(len(piece), limit, bodies)
            kept += piece
            self._comes = bool(message.get("more_body"))
        return bytes(kept)

    def _hold(self, size: int, limit: int, bodies: Bodies) -> None:
        self.held += size
        bodies.take(size)
        if self.held > limit:
            raise _too_large(limit)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        more = True
        while more:
            message = await self._next()
            if message.get("body"):
                yield message["body"]
            more = bool(message.get("more_body"))

    async def _next(self, seconds: float = BODY_SECONDS) -> Message:
        try:
            async with asyncio.timeout(seconds):
                message = await self._receive()
        except TimeoutError:
            raise Invalid(
                "The body comes too slowly.",
                "Send it again, sooner or in smaller requests.",
                code="body_too_slow",
            ) from None
        if message["type"] == "http.disconnect":
            raise Invalid("The request's body ended before its announced length.", "Send it again.")
        return message

    async def begin(self, status: int, content_type: bytes, length: int | None = None, *more: Any) -> None:
        """The answer's head; without a length it is sent in chunks."""
        self.begun = True
        headers = [(b"content-type", content_type), (b"x-request-id", self.id), *more]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, piece: bytes, *, more: bool = True) -> None:
        """A piece of the answer's body. Raises NotTaken."""
        if not more:
            await self._send({"type": "http.response.body", "body": piece})
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise NotTaken("the caller does not take its answer") from None

    async def answer(self, status: int, content: bytes, content_type: bytes = JSON, *more: Any) -> None:
        """The whole answer at once."""
        await self.begin(status, content_type, len(content), *more)
        await self.write(content, more=False)

    async def refuse(self, error: DomainError) -> None:
        """problem+json; `error` is where the Open Inference Protocol looks for the sentence."""
        document = {**body(error, self.id.decode()), "error": error.message}
        more = []
        if error.retry_after is not None:
            more.append((b"retry-after", b"%d" % error.retry_after))
        if error.status == 401:
            more.append((b"www-authenticate", b'Bearer realm="api"'))
        if isinstance(error, WrongMethod):
            more.append((b"allow", error.allowed.encode()))
        if error.status == 413 or self._comes:
            more.append((b"connection", b"close"))
        await self.answer(error.status, json.dumps(document).encode(), CONTENT_TYPE.encode(), *more)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.", "Send the rows in several requests.")
