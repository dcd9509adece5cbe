"""uvicorn's protocol with bounds on what a stranger may send before anybody knows who it is."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES = 32 * 1024
HEADER_SECONDS = 30.0
# Of a caller that takes nothing of its answer; longer than a piece is waited for.
STUCK_SECONDS = 90.0
LAST_SECONDS = 10.0  # for what is left of an answer when its connection closes
_UPGRADE = re.compile(rb"\r\n(?=upgrade[ \t]*:)", re.IGNORECASE)


class BoundedProtocol(HttpToolsProtocol):
    """A request's head is small and comes soon, and so does what is left of a body that was answered already; a caller
    takes its answer. Or the connection is closed.

    Nobody is given another protocol. Java's client offers one with each first request, and httptools would take the body
    that follows for the next request: so it is not shown the offer, or refuses what it saw.
    """

    _awaits_head = True
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._hurry()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        self._goes_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._awaits_head and _UPGRADE.search(data, 0, HEADER_BYTES):
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(b"\r\nX-Not-", head) + end + rest
        super().data_received(data)
        # uvicorn's own time for an idle connection ends with the first byte, whatever that is.
        if self.cycle is None or self.cycle.response_complete:
            self._hurry()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._hurry()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._goes_on()
        self._stuck = self.loop.call_later(STUCK_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._goes_on()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(LAST_SECONDS, self.transport.abort)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_time()
        self._awaits_head = False
        if self.parser.should_upgrade():
            raise ValueError("no other protocol is spoken here")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._awaits_head = True

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEADER_BYTES:
            raise ValueError("the request's head is too large")

    def _hurry(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def _too_late(self) -> None:
        self.transport.close()
        self.loop.call_later(LAST_SECONDS, self.transport.abort)

    def _goes_on(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
