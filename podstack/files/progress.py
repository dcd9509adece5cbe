"""A line on the terminal that says how far a long upload or download has come."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

SILENT_SECONDS = 1.0  # what takes no longer shows nothing
SECONDS_BETWEEN = 0.2
OFF = frozenset({"0", "false", "no", "off"})
CLEARED = "\r\x1b[K"


class Progress:
    """Counts bytes, from any thread; used as a context, whose end clears the line.

    Nothing is shown where stderr is no terminal, with PODSTACK_PROGRESS=0, or with `wanted` False.
    """

    def __init__(self, verb: str, total: int, wanted: bool = True, stream: TextIO | None = None) -> None:
        self._verb = verb
        self._total = total
        self._stream = stream or sys.stderr
        self._wanted = wanted and total > 0 and _is_terminal(self._stream)
        self._lock = threading.Lock()
        self._done = 0
        self._begun = self._shown_at = time.monotonic()
        self._shown = False

    def add(self, count: int) -> None:
        """So many bytes more; what is sent twice counts no further than the whole."""
        if not self._wanted:
            return
        with self._lock:
            self._done = min(self._total, self._done + count)
            now = time.monotonic()
            if now - self._begun < SILENT_SECONDS or now - self._shown_at < SECONDS_BETWEEN:
                return
            self._shown_at, self._shown = now, True
            self._write(CLEARED + self._line(now - self._begun))

    def _line(self, seconds: float) -> str:
        speed = self._done / seconds
        left = f", {_span((self._total - self._done) / speed)} left" if speed else ""
        return (
            f"{self._verb} {self._done * 100 // self._total}% of {_size(self._total)}, {_size(speed)}/s{left}"
        )

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal went away
            self._wanted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._shown:
                self._write(CLEARED)
            self._wanted = False


def _is_terminal(stream: TextIO | None) -> bool:
    chosen = os.environ.get("PODSTACK_PROGRESS", "").strip().lower()
    try:
        return stream is not None and stream.isatty() and chosen not in OFF
    except (OSError, ValueError, AttributeError):
        return False


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
