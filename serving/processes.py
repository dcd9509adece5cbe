"""Processes by /proc: know them again by pid and start time, and end whole sessions or accounts."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def boot_id() -> str:
    """Id of this boot of the machine: start times mean nothing across boots."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Start of a living process in clock ticks since boot; None when there is none, or only a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int) -> list[str] | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (OSError, ValueError):
        return None
    return text.rpartition(")")[2].split()


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdigit())


def members(session: int, uid: int | None) -> list[int]:
    """Living processes of a session, and those of an account that the service has for itself."""
    found = []
    for pid in _pids():
        fields = _stat(pid)
        if fields is None or fields[0] in "ZX":
            continue
        if int(fields[3]) == session or (uid is not None and _owner(pid) == uid):
            found.append(pid)
    return found


def owners() -> set[int]:
    """The accounts of all living processes."""
    return {uid for uid in map(_owner, _pids()) if uid is not None}


def _owner(pid: int) -> int | None:
    try:
        return os.stat(PROC / str(pid)).st_uid
    except OSError:
        return None


def end_all(session: int, uid: int | None) -> None:
    """SIGKILL every process of a session (and of its own account), until none is left or 20 rounds passed."""
    for _ in range(20):
        left = members(session, uid)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
