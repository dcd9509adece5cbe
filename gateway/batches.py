"""Many rows as lines of JSON: they go in as they come, and answers come back meanwhile; nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.request import Request
from gateway.routes import Backend
from gateway.upstream import BrokenOff, Connection, Pool, Unreachable, address_of
from gateway.wire import Question, head_of

LINES = b"application/x-ndjson"


async def pass_on(pool: Pool, backend: Backend, request: Request, seconds: float) -> int:
    """Streams the request's body in and the answer's out; the answer's status.

    `seconds` is how long nothing may come back while nothing goes in.
    """
    address = address_of(backend.url)
    connection = await pool.opened(address)
    sender: asyncio.Task[None] | None = None
    try:
        path = f"/batch-predict?{request.query.decode('ascii')}".rstrip("?")
        connection.send(head_of(Question("POST", path, b"", request.id), address, backend.key, None))
        sender = asyncio.create_task(_send(connection, request))
        # The model would wait for rows that never come.
        sender.add_done_callback(lambda sent: None if _went_well(sent) else connection.close())
        status = await _begun(connection, sender, seconds)
        await request.begin(status, connection.content_type)
        async for piece in connection.pieces(seconds):
            await request.write(piece)
        await request.write(b"", more=False)
        return status
    except BrokenOff:
        if sender is not None and sender.done():
            sender.result()
        raise
    finally:
        if sender is not None:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await sender
        connection.close()


async def _begun(connection: Connection, sender: asyncio.Task[None], seconds: float) -> int:
    """The answer's status; what goes wrong with the sending ends the waiting too."""
    head = asyncio.create_task(connection.head())
    try:
        await asyncio.wait({head, sender}, return_when=asyncio.FIRST_COMPLETED)
        if not head.done():
            sender.result()
        async with asyncio.timeout(seconds):
            return await head
    finally:
        head.cancel()


def _went_well(sent: asyncio.Task[None]) -> bool:
    return not sent.cancelled() and sent.exception() is None


async def _send(connection: Connection, request: Request) -> None:
    async for piece in request.pieces():
        if connection.lost:
            raise Unreachable("the connection ended before the answer")
        connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await connection.drained()
    connection.write(b"0\r\n\r\n")
