"""What was read from the database, for as long as it is surely true, and longer while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

from gateway.database import Away, Database

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FRESH_SECONDS = 5.0  # news come at once; this is for the day when they do not
KEPT_SECONDS = 300.0  # what goes on answering while the database is away
MOST_ENTRIES = 10_000


class Cache(Generic[K, V]):
    """Reads by key: one read at a time for each, and none that news overtook is kept."""

    def __init__(self, database: Database, read: Callable[[K], Awaitable[V | None]]) -> None:
        self._database, self._read = database, read
        self._entries: dict[K, tuple[V, float]] = {}
        self._reading: dict[K, asyncio.Task[V | None]] = {}
        self._generation = 0

    def known(self, key: K) -> V | None:
        """What is surely still true, without a read."""
        found = self._entries.get(key)
        since = self._database.listening_since
        if found is None or since is None or found[1] < since or monotonic() - found[1] > FRESH_SECONDS:
            return None
        return found[0]

    async def get(self, key: K) -> V | None:
        """What is true, or, while the database is away, what was true lately. Raises Away when that is unknown."""
        found = self.known(key)
        return await self.read(key) if found is None else found

    async def read(self, key: K) -> V | None:
        """Read it now, whatever is known."""
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._kept(key))
            task.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(task)

    def forget(self, wanted: Callable[[K, V], bool] | None = None) -> None:
        """Drop all, or what is `wanted`, because it changed; reads on their way are not kept either."""
        self._generation += 1
        self._reading.clear()
        if wanted is None:
            self._entries.clear()
        else:
            for key in [key for key, (value, _) in self._entries.items() if wanted(key, value)]:
                del self._entries[key]

    async def _kept(self, key: K) -> V | None:
        began, generation = monotonic(), self._generation
        try:
            value = await self._read(key)
        except Away:
            found = self._entries.get(key)
            if found is None or monotonic() - found[1] > KEPT_SECONDS:
                raise
            return found[0]
        if generation == self._generation:
            self._keep(key, value, began)
        return value

    def _keep(self, key: K, value: V | None, began: float) -> None:
        if value is None:
            self._entries.pop(key, None)
            return
        if len(self._entries) >= MOST_ENTRIES:
            self._entries.clear()
        self._entries[key] = (value, began)

    def _over(self, key: K, task: asyncio.Task[V | None]) -> None:
        if self._reading.get(key) is task:
            del self._reading[key]
        if not task.cancelled():
            task.exception()  # whoever waited has it
