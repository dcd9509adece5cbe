"""How many requests a second an endpoint takes, through all processes of this gateway together."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
from pathlib import Path
from time import monotonic

from deployments.errors import TooMany
from gateway.routes import Route

# Tokens left, and when that was: seconds of the clock that all processes of a machine share; zeros at first.
BUCKET = struct.Struct("<dd")
BUCKETS = 1 << 20  # endpoints whose ids are a multiple of this apart would share one
SIZE = BUCKETS * BUCKET.size


class Limits:
    """A bucket of tokens for each endpoint: a second's worth may come at once.

    The buckets lie in a file that all processes map, and each is locked for the microseconds that a look takes; a process
    that dies lets go. The file has all its space from the beginning: a page that a full disk could not give later would
    end the process by a signal. Gateways on other machines have buckets of their own.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError where the disk has not `SIZE` bytes."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.posix_fallocate(self._file, 0, SIZE)
        self._map = mmap.mmap(self._file, SIZE)

    def close(self) -> None:
        """Never ask again."""
        self._map.close()
        os.close(self._file)

    def check(self, route: Route) -> None:
        """Takes one token of a limited endpoint; TooMany says when there will be one."""
        rate = route.rate_limit
        if rate is None:
            return
        place = route.deployment_id % BUCKETS * BUCKET.size
        fcntl.lockf(self._file, fcntl.LOCK_EX, BUCKET.size, place)
        try:
            had, at = BUCKET.unpack_from(self._map, place)
            now = monotonic()
            left = min(rate, had + (now - at) * rate) if at else rate
            BUCKET.pack_into(self._map, place, left - 1 if left >= 1 else left, now)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, BUCKET.size, place)
        if left < 1:
            raise TooMany(
                f"{route.endpoint_name} takes {rate} requests a second.",
                "Ask more slowly, or send more rows in each request.",
                retry_after=max(1, math.ceil((1 - left) / rate)),
            )
