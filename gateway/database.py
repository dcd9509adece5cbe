"""The database as the gateway knows it: short reads, news of changes, and a time when it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from common.pools import COMES_BACK_ASYNC

log = logging.getLogger("gateway")

ROUTES, TOKENS = "routes", "tokens"
CONNECT_SECONDS = 3
READ_SECONDS = 2.0
HEARTBEAT_SECONDS = 5.0
# After a failed read others do not wait for the same failure.
AWAY_SECONDS = 0.5
OPTIONS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "gateway",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}

Rows = Sequence[tuple[Any, ...]]
Listener = Callable[[str, str], None]


class Away(Exception):
    """The database cannot be asked now."""


class Database:
    """A small pool for reads and writes, and one connection that listens."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=4,
            open=False,
            timeout=READ_SECONDS,
            kwargs={**OPTIONS, "autocommit": True, "options": "-c statement_timeout=5000"},
            check=AsyncConnectionPool.check_connection,
            **COMES_BACK_ASYNC,
        )
        self._away_until = 0.0
        self._task: asyncio.Task[None] | None = None
        # Since when no news can have been missed; None while nobody listens.
        self.listening_since: float | None = None

    async def open(self, listener: Listener) -> None:
        """Begin to listen; `listener(channel, payload)` is called with all news."""
        await self._pool.open(wait=False)
        self._task = asyncio.create_task(self._listen(listener))

    async def close(self) -> None:
        """End all connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._pool.close(timeout=2)

    async def rows(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> Rows:
        """What a statement returns. Raises Away."""
        if monotonic() < self._away_until:
            raise Away
        try:
            async with asyncio.timeout(READ_SECONDS), self._pool.connection() as connection:
                cursor = await connection.execute(query.encode(), values)
                return await cursor.fetchall() if cursor.description else []
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TimeoutError) as error:
            self._away_until = monotonic() + AWAY_SECONDS
            log.warning("The database did not answer: %s", error or "time-out")
            raise Away from error

    async def _listen(self, listener: Listener) -> None:
        pause = 0.2
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, **OPTIONS
                ) as connection:
                    await self._hear(connection, listener)
            except (psycopg.Error, OSError, TimeoutError) as error:
                if self.listening_since is not None:
                    log.warning("The database's news are gone: %s", error)
                    pause = 0.2
            finally:
                self.listening_since = None
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 2)

    async def _hear(self, connection: psycopg.AsyncConnection[Any], listener: Listener) -> None:
        await connection.execute(f"LISTEN {ROUTES}".encode())
        await connection.execute(f"LISTEN {TOKENS}".encode())
        self.listening_since, self._away_until = monotonic(), 0.0
        while True:
            async for news in connection.notifies(timeout=HEARTBEAT_SECONDS):
                listener(news.channel, news.payload)
            # A connection that is dead may look merely silent.
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.execute("SELECT 1")
