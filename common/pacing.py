"""What is asked far more often than it needs to be looked at."""

from __future__ import annotations

import time
from collections.abc import Callable


def now_and_then(look: Callable[[], None], seconds: float) -> Callable[[], None]:
    """Calls `look` at most once in so many seconds, first when they have passed; hands on what it raises."""
    next_look = time.monotonic() + seconds

    def asked() -> None:
        nonlocal next_look
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + seconds
            look()

    return asked
