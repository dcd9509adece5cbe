"""The one way in which tests wait for what happens elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(look: Callable[[], Found], seconds: float = 60, pause: float = 0.05) -> Found:
    """The first answer of `look` that is true; fails once `seconds` are over."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"It did not come within {seconds:g} s."
        time.sleep(pause)
    return found
