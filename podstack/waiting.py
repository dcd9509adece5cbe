"""Looking again and again at what the server works on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Thing = TypeVar("Thing")
FIRST_WAIT, GROWTH = 0.1, 1.5


def settled(
    current: Thing,
    look: Callable[[], Thing],
    done: Callable[[Thing], bool],
    timeout: float,
    longest: float = 1.0,
) -> Thing:
    """`current` or what a later look gives, once it is done; what was seen last when `timeout` seconds are over.

    Pauses grow from 0.1 s to `longest` seconds.
    """
    deadline, pause = time.monotonic() + timeout, FIRST_WAIT
    while not done(current) and time.monotonic() < deadline:
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * GROWTH, longest)
        current = look()
    return current
