"""What a worker writes: lines that tell when and by which process, so that a log can be read by replica."""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
import time

LONGEST_LINE = 16 << 10


class Labelled(io.TextIOBase):
    """Standard output that puts time and process before each line, as gunicorn does before its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._rest, self._lock = descriptor, "", threading.Lock()
        self._mark = f"[{os.getpid()}] "

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """For code that writes past Python."""
        return self._descriptor

    @property
    def buffer(self) -> io.BufferedIOBase:
        """For code that writes bytes: they go out without a label."""
        return io.BufferedWriter(io.FileIO(self._descriptor, "wb", closefd=False), 1)

    def write(self, text: str) -> int:
        """Keeps what is no whole line yet."""
        with self._lock:
            *lines, rest = (self._rest + text).split("\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], ""
            self._rest = rest
            self._out(lines)
        return len(text)

    def finish(self) -> None:
        """Write what is no whole line."""
        with self._lock:
            lines, self._rest = ([self._rest] if self._rest else []), ""
            self._out(lines)

    def _out(self, lines: list[str]) -> None:
        if not lines:
            return
        began = time.strftime("[%Y-%m-%d %H:%M:%S %z] ") + self._mark
        data = "".join(f"{began}{line}\n" for line in lines).encode("utf-8", "replace")
        while data:
            data = data[os.write(self._descriptor, data) :]


def label_output() -> None:
    """From here on, what this process prints is labelled."""
    sys.stdout, sys.stderr = Labelled(1), Labelled(2)
    atexit.register(sys.stdout.finish)
    atexit.register(sys.stderr.finish)
