"""Pages of lists kept in this process's memory, each with the state of things that it shows."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from django.db import connection

MOST_BYTES = 8 << 20
LARGEST = 256 << 10
# What is changed past the platform, by an operator's own SQL, is seen after so many seconds.
SECONDS = 60.0


class Pages:
    """The pages used last, at most MOST_BYTES of them; threads may share it."""

    def __init__(self) -> None:
        self._pages: OrderedDict[Hashable, tuple[str, float, bytes]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def answer(self, question: Hashable, state: str, make: Callable[[], bytes]) -> bytes:
        """What `make` gives, or gave when this was asked in the same state; "" is a state that nobody knows.

        What a transaction sees that is still open may yet be undone: it is not kept.
        """
        if not state or connection.in_atomic_block:
            return make()
        content = self.get(question, state)
        if content is None:
            content = make()
            self.put(question, state, content)
        return content

    def get(self, question: Hashable, state: str) -> bytes | None:
        """What was answered to this question in this state."""
        with self._lock:
            found = self._pages.get(question)
            if found is None or found[0] != state or time.monotonic() - found[1] > SECONDS:
                return None
            self._pages.move_to_end(question)
            return found[2]

    def put(self, question: Hashable, state: str, content: bytes) -> None:
        """Keeps an answer instead of the former one, and lets those go that nobody has asked for longest."""
        if len(content) > LARGEST:
            return
        with self._lock:
            former = self._pages.pop(question, None)
            self._size += len(content) - (len(former[2]) if former else 0)
            self._pages[question] = (state, time.monotonic(), content)
            while self._size > MOST_BYTES:
                _, (_, _, dropped) = self._pages.popitem(last=False)
                self._size -= len(dropped)


PAGES = Pages()
