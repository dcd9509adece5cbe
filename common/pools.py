"""How a pool of connections bears that its database is away, and comes back.

psycopg's pools wait twice as long after each failed try, up to five minutes: of an outage of ten seconds they make
thirty, of one of ten minutes fifteen. These options have them try about once a second for as long as anybody waits.
Who asks first waits as long as the pool's `timeout`, so that a restart is waited out; who asks later waits as much less as
the database has been away longer, so that of a long outage everybody is told soon.
"""

from __future__ import annotations

import threading
import weakref
from time import monotonic
from typing import Any, TypedDict

from psycopg_pool import AsyncConnectionPool, ConnectionPool

TRY_SECONDS = 2.0  # psycopg tries at once, after one second, and once more at the end of these
LEAST_PATIENCE = 2.0  # longer than between two tries: who asks once it is back is not told that it is away
_lock = threading.Lock()
# Since when a pool's tries fail, and its usual timeout.
_away: weakref.WeakKeyDictionary[ConnectionPool[Any], tuple[float, float]] = weakref.WeakKeyDictionary()


class Options(TypedDict):
    """What a pool takes; its own name for `reconnect_failed` is for what follows each such row of tries."""

    reconnect_timeout: float
    reconnect_failed: Any


def is_back(pool: ConnectionPool[Any]) -> None:
    """Called with each connection that came: from now on one waits as usual."""
    if pool in _away:
        with _lock:
            _, pool.timeout = _away.pop(pool, (0.0, pool.timeout))


def _go_on(pool: ConnectionPool[Any]) -> None:
    with _lock:
        since, usual = _away.setdefault(pool, (monotonic() - TRY_SECONDS, pool.timeout))
        pool.timeout = max(LEAST_PATIENCE, usual - (monotonic() - since))
    if pool.get_stats()["requests_waiting"]:
        pool.check()


async def _go_on_async(pool: AsyncConnectionPool[Any]) -> None:
    if pool.get_stats()["requests_waiting"]:
        await pool.check()


COMES_BACK: Options = {"reconnect_timeout": TRY_SECONDS, "reconnect_failed": _go_on}
COMES_BACK_ASYNC: Options = {"reconnect_timeout": TRY_SECONDS, "reconnect_failed": _go_on_async}
