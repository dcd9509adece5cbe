"""Memory of a server's web processes, from /proc."""

from __future__ import annotations

from pathlib import Path

from bench.servers import Server


def web_memory(server: Server) -> float:
    """MiB that all web processes hold, pages that they share counted once (PSS).

    Of our platform those are the processes of the web server; MLflow has no others.
    """
    found = [pid for pid in _below(server.pid) if server.name != "ours" or "launcher.web" in _command(pid)]
    return sum(_pss(pid) for pid in found) / 1024


def _below(root: int) -> list[int]:
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


def _command(pid: int) -> str:
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
