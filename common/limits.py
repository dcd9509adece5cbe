"""How much one person may ask of this process, counted in its own memory: no request waits for that."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from common.errors import TooMany

MOST_KEPT = 10_000  # callers; who asked longest ago is forgotten first
BURST = 2.0  # seconds of the rate that may come at once


@dataclass(slots=True)
class _Share:
    """One caller's: requests left of the burst as of `at` (monotonic seconds), and those that are being answered."""

    left: float
    at: float
    running: int = 0


class Limits:
    """REQUESTS_PER_SECOND and REQUESTS_AT_ONCE for each caller; threads may share it."""

    def __init__(self) -> None:
        self._shares: OrderedDict[Hashable, _Share] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, caller: Hashable) -> None:
        """Counts one request in, or TooMany. Each one that was counted in is to `end`."""
        rate: int = settings.REQUESTS_PER_SECOND
        if not rate:
            return
        now = time.monotonic()
        with self._lock:
            share = self._shares.get(caller)
            if share is None:
                share = self._shares[caller] = _Share(rate * BURST, now)
                if len(self._shares) > MOST_KEPT:
                    self._shares.popitem(last=False)
            self._shares.move_to_end(caller)
            share.left = min(rate * BURST, share.left + (now - share.at) * rate)
            share.at = now
            if share.left < 1:
                raise _too_many(f"more than {rate} requests a second", math.ceil((1 - share.left) / rate))
            if share.running >= settings.REQUESTS_AT_ONCE:
                raise _too_many(f"more than {settings.REQUESTS_AT_ONCE} requests at once", 1)
            share.left -= 1
            share.running += 1

    def end(self, caller: Hashable) -> None:
        """The request is answered."""
        with self._lock:
            share = self._shares.get(caller)
            if share is not None and share.running:
                share.running -= 1

    @contextmanager
    def turn(self, caller: Hashable) -> Iterator[None]:
        """Both, around what answers."""
        self.begin(caller)
        try:
            yield
        finally:
            self.end(caller)


def _too_many(what: str, seconds: int) -> TooMany:
    return TooMany(
        f"You send this server {what}.", "Send fewer, and wait before you try again.", retry_after=seconds
    )


LIMITS = Limits()
