"""Memory and processor time of a server's processes, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

from bench.servers import Server


def web_memory(server: Server) -> float:
    """MiB that all web processes hold, pages that they share counted once (PSS).

    Of our platform those are the processes of the web server; MLflow has no others.
    """
    found = [pid for pid in below(server.pid) if server.name != "ours" or "launcher.web" in command_of(pid)]
    return sum(_pss(pid) for pid in found) / 1024


def engine_memory(server: Server) -> float:
    """MiB that the serving engine and all that it runs hold."""
    return sum(_pss(pid) for pid in below(server.pid) if "serving." in command_of(pid)) / 1024


def spent(pids: list[int]) -> float:
    """Seconds of processor time that these processes have used."""
    return sum(_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def below(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _pss(pid: int) -> int:
    """KiB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
