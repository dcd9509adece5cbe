"""Ends what a killed launcher left: a small process of its own that outlives the launcher by seconds.

Run as a program with a pipe on stdin. Lines `add GROUP FIRST LAST` name a process group and two signals,
`drop GROUP` forgets it. When the pipe ends, every group still known gets FIRST, and after a while LAST.
The kernel signals only the processes that the launcher itself started; this reaches their children, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from signal import Signals

PATIENCE_SECONDS = 8.0


class Guard:
    """The launcher's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={},
            bufsize=0,
        )

    def add(self, group: int, first: Signals, last: Signals) -> None:
        """Have this process group ended, should the launcher die."""
        self._say(f"add {group} {int(first)} {int(last)}\n")

    def drop(self, group: int) -> None:
        """Forget a group that has ended."""
        self._say(f"drop {group}\n")

    def close(self) -> None:
        """Everything was ended: the guard ends too."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe and not pipe.closed:
            try:
                pipe.write(line.encode())
            except BrokenPipeError:  # somebody killed the guard; the kernel's signal to each child remains
                return


def main() -> None:
    """Read the pipe to its end, then end what is left."""
    groups: dict[int, tuple[int, int]] = {}
    for line in sys.stdin:
        word, group, *signals = line.split()
        if word == "add":
            groups[int(group)] = (int(signals[0]), int(signals[1]))
        else:
            groups.pop(int(group), None)
    for group, (first, _) in groups.items():
        _send(group, first)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(_send(group, 0) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group, (_, last) in groups.items():
        _send(group, last)


def _send(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
