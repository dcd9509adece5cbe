"""How a pool of connections comes back after its database was away.

psycopg's pools wait twice as long after each failed try, up to five minutes: of an outage of ten seconds they make
thirty, of one of ten minutes fifteen. These options have them try about once a second for as long as anybody waits.
"""

from __future__ import annotations

from typing import Any, TypedDict

from psycopg_pool import AsyncConnectionPool, ConnectionPool

TRY_SECONDS = 2.0  # psycopg tries at once, after one second, and once more at the end of these


class Options(TypedDict):
    """What a pool takes; its own name for `reconnect_failed` is for what follows each such row of tries."""

    reconnect_timeout: float
    reconnect_failed: Any


def _go_on(pool: ConnectionPool[Any]) -> None:
    if pool.get_stats()["requests_waiting"]:
        pool.check()


async def _go_on_async(pool: AsyncConnectionPool[Any]) -> None:
    if pool.get_stats()["requests_waiting"]:
        await pool.check()


COMES_BACK: Options = {"reconnect_timeout": TRY_SECONDS, "reconnect_failed": _go_on}
COMES_BACK_ASYNC: Options = {"reconnect_timeout": TRY_SECONDS, "reconnect_failed": _go_on_async}
