"""What the launcher's tests share."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that every account can walk through (pytest's own is for its owner only)."""
    folder = Path(tempfile.mkdtemp(prefix="podstack-launcher-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def family(pid: int) -> dict[int, str]:
    """A process and all below it: number → start time, which together name a process for ever."""
    parents: dict[int, list[int]] = {}
    started: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
            started[int(entry.name)] = fields[19]
    found, queue = {}, [pid]
    while queue:
        number = queue.pop()
        if number in started:
            found[number] = started[number]
            queue += parents.get(number, [])
    return found


def alive(processes: dict[int, str]) -> set[int]:
    """Those of them that still run (a zombie does not)."""
    stats = {pid: _stat(pid) for pid in processes}
    return {
        pid for pid, fields in stats.items() if fields and fields[0] != "Z" and fields[19] == processes[pid]
    }


def _stat(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def is_root() -> bool:
    return os.geteuid() == 0
