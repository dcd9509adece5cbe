"""HTTP/1.1 to the serving processes: connections that are kept, answers that are streamed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import cast
from urllib.parse import urlsplit

import httptools

HIGH_WATER = 256 * 1024
SMALL = 64 * 1024  # answers up to here are waited for as a whole
CONNECT_SECONDS = 2.0
# Serving processes close what was idle for 60 s; a request must not meet that moment.
IDLE_SECONDS = 30.0
MOST_IDLE = 64


class Unreachable(Exception):
    """Nothing answers at this address, or it broke off before its answer began."""


class BrokenOff(Exception):
    """The answer ended before its end."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a revision answers: its base may have a path."""

    host: str
    port: int
    path: str


@lru_cache(4096)
def address_of(url: str) -> Address:
    """The parts of http://host:port/path."""
    parts = urlsplit(url)
    return Address(parts.hostname or "127.0.0.1", parts.port or 80, parts.path.rstrip("/"))


class Connection(asyncio.Protocol):
    """One connection: a request at a time, and the answer as it comes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.lost = False
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self._small = False
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0
        self.content_type = b"application/json"
        self.complete = False
        self.kept = False
        self._headers_done = False

    # What the event loop calls.
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        if self.complete or not self._busy:
            self.close()  # bytes that nobody asked for
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
        self._wake()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        # An answer without a length ends with its connection.
        if self._headers_done and not self.complete and self._until_close:
            self.complete = True
        self._may_write.set()
        self._wake()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    # What the parser calls.
    _until_close = True
    _busy = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self.content_type = value
        elif name == b"content-length":
            self._until_close, self._small = False, int(value) <= SMALL
        elif name == b"transfer-encoding":
            self._until_close = False

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._headers_done = True

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > HIGH_WATER and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self.complete = True
        self.kept = self._parser.should_keep_alive()

    # What a request does.
    def send(self, data: bytes) -> None:
        """Begin a request with these bytes."""
        self._begin()
        self._busy, self._until_close = True, True
        self.write(data)

    def write(self, data: bytes) -> None:
        """More of the request."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the other side has taken enough."""
        await self._may_write.wait()

    async def head(self) -> int:
        """Wait for the answer's beginning, and all of a small one; its status. Raises Unreachable."""
        while not self._begun:
            if self.lost:
                raise Unreachable("the connection ended before the answer")
            await self._news()
        return self.status

    @property
    def _begun(self) -> bool:
        return self.complete or (self._headers_done and not self._small)

    async def pieces(self, seconds: float) -> AsyncIterator[bytes]:
        """The body as it comes. Raises BrokenOff when it ends too early, TimeoutError after `seconds` of nothing."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._waiting -= len(piece)
                if self._paused and self._waiting < HIGH_WATER // 2 and self._transport:
                    self._paused = False
                    self._transport.resume_reading()
                yield piece
            if self.complete:
                return
            if self.lost:
                raise BrokenOff
            async with asyncio.timeout(seconds):
                await self._news()

    def whole(self) -> bytes | None:
        """The body, when all of it is here already."""
        if not self.complete:
            return None
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        return body

    def close(self) -> None:
        """Never use it again."""
        self.lost = True
        if self._transport is not None:
            self._transport.close()

    def rest(self) -> None:
        """The request is over and the connection may be used again."""
        self._busy, self.idle_since = False, monotonic()

    async def _news(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and (self._begun or self.lost):
            self._waiter.set_result(None)


class Pool:
    """Idle connections by address, the last used first."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], list[Connection]] = {}

    def taken(self, address: Address) -> Connection | None:
        """An idle connection, if there is one that still stands."""
        idle = self._idle.get((address.host, address.port))
        while idle:
            found = idle.pop()
            if not found.lost and monotonic() - found.idle_since < IDLE_SECONDS:
                return found
            found.close()
        return None

    async def opened(self, address: Address) -> Connection:
        """A new connection. Raises Unreachable."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(Connection, address.host, address.port)
        except (OSError, TimeoutError) as error:
            raise Unreachable(str(error) or "it does not accept connections") from error
        return connection

    def give_back(self, address: Address, connection: Connection) -> None:
        """Keep what can be used again, close the rest."""
        if not (connection.complete and connection.kept) or connection.lost:
            connection.close()
            return
        connection.rest()
        idle = self._idle.setdefault((address.host, address.port), [])
        if len(idle) >= MOST_IDLE:
            idle.pop(0).close()
        idle.append(connection)

    def sweep(self) -> None:
        """Close what has been idle for too long, forget addresses that are no more."""
        for key, idle in list(self._idle.items()):
            kept = [one for one in idle if not one.lost and monotonic() - one.idle_since < IDLE_SECONDS]
            for one in idle:
                if one not in kept:
                    one.close()
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]

    def close(self) -> None:
        """Close all that is idle."""
        for idle in self._idle.values():
            for one in idle:
                one.close()
        self._idle.clear()


@contextlib.asynccontextmanager
async def exchange(
    pool: Pool, address: Address, head: bytes, body: bytes, seconds: float
) -> AsyncIterator[Connection]:
    """Send a request and wait until its answer begins; the block reads the rest.

    A kept connection that broke before it answered was idle for too long: the request goes again on a new one.
    Raises Unreachable, or TimeoutError when no answer began within `seconds`.
    """
    connection = pool.taken(address)
    async with asyncio.timeout(seconds):
        if connection is not None:
            try:
                await _asked(connection, head, body)
            except Unreachable:
                connection = None
            except BaseException:
                connection.close()
                raise
        if connection is None:
            connection = await pool.opened(address)
            try:
                await _asked(connection, head, body)
            except BaseException:
                connection.close()
                raise
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    finally:
        pool.give_back(address, connection)


async def _asked(connection: Connection, head: bytes, body: bytes) -> None:
    connection.send(head + body if len(body) < HIGH_WATER else head)
    if len(body) >= HIGH_WATER:
        connection.write(body)
    await connection.head()
