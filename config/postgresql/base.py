"""The backend's one class, at the name where Django looks for it."""

from __future__ import annotations

import time
import weakref
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool

from common.pools import is_back

TRUSTED_FOR = 1.0  # seconds
_checked_at: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()


class DatabaseWrapper(base.DatabaseWrapper):
    """Asks a pooled connection whether it still lives, unless it was asked a moment ago.

    CONN_HEALTH_CHECKS asks for each request: a round trip that costs as much as a read by primary key.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        while True:
            link = super().get_new_connection(conn_params)
            if self.pool is None:
                return link
            if _lives(link):
                is_back(self.pool)
                return link
            self.pool.putconn(link)


def _lives(link: Any) -> bool:
    now = time.monotonic()
    if now - _checked_at.get(link, -TRUSTED_FOR) <= TRUSTED_FOR:
        return True
    try:
        ConnectionPool.check_connection(link)
    except psycopg.OperationalError:
        return False
    _checked_at[link] = now
    return True
