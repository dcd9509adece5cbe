"""One training process and all that it starts, until none is left: `python -I supervisor.py FOLDER`.

It stands alone (the standard library, no secrets of the platform). FOLDER holds spec.json, made by the engine;
this writes `log` (capped) and, when everything has ended, `result.json`. A file `stop` ends it early.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

LOG_LIMIT = 16 << 20
FILE_LIMIT = 64 << 30
LOOK, LONGEST_LOOK = 0.2, 2.0  # seconds
GRACE = 5.0  # seconds between asking and forcing
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
KILLED = "It was killed by signal 9; the system may have run out of memory."
# A shell says 128 and the signal of a program that it ran.
SIGNALS = {
    -signal.SIGXFSZ: "It wrote a file larger than the schedule allows.",
    -signal.SIGKILL: KILLED,
    128 + signal.SIGKILL: KILLED,
}
CAPPED = b"\n[The log is longer than 16 MiB: the rest was left out.]\n"


def main(folder: Path) -> int:
    lock = (folder / "lock").open("a+b")
    if not _is_ours(lock):
        return 0  # another one looks after it
    if (folder / "result.json").exists():
        return 0
    signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
    spec = json.loads((folder / "spec.json").read_text())
    _write(folder / "result.json", run(folder, spec))
    return 0


def _is_ours(lock: BinaryIO) -> bool:
    """Tried for a moment: whoever looks whether a supervisor lives holds the lock while it looks."""
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


def run(folder: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Runs the command to its end, whoever ends it; what result.json is to hold."""
    libc = ctypes.CDLL(None, use_errno=True)
    # What the program leaves behind becomes a child of ours, and is found.
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    begun = time.monotonic()
    try:
        process = _start(folder, spec, libc)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        sentence = f"{spec['command'][0]!r} could not be started: {error}."
        return {"exit_code": None, "reason": "not started", "details": sentence, "duration": 0.0}
    assert process.stdout is not None
    copying = threading.Thread(target=_copy, args=(process.stdout, folder / "log"), daemon=True)
    copying.start()
    reason, peak = _watch(folder, spec, process, begun)
    exit_code = process.wait()
    _end_all(signal.SIGKILL)
    _reap()
    copying.join(5)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "exit_code": exit_code,
        "reason": reason or ("" if exit_code == 0 else "failed"),
        "details": "" if reason else SIGNALS.get(exit_code, ""),
        "duration": round(time.monotonic() - begun, 3),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
        "peak_memory": max(peak, 0 if reason == "killed" and not peak else used.ru_maxrss * 1024),
    }


def _start(folder: Path, spec: dict[str, Any], libc: Any) -> subprocess.Popen[bytes]:
    who = {} if spec["uid"] is None else {"user": spec["uid"], "group": spec["uid"], "extra_groups": []}

    def limit() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = spec["file_size"] or FILE_LIMIT
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return subprocess.Popen(
        spec["command"],
        cwd=folder / "work",
        env=spec["env"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=limit,
        **who,
    )


def _copy(source: BinaryIO, target: Path) -> None:
    """The output into the log; past the limit it is read and dropped, so that the program never waits."""
    left = LOG_LIMIT
    with target.open("ab", buffering=0) as log:
        while piece := source.read1(1 << 16):  # type: ignore[attr-defined]
            if left > 0:
                log.write(piece[:left])
                left -= len(piece)
                if left <= 0:
                    log.write(CAPPED)


def _watch(
    folder: Path, spec: dict[str, Any], process: subprocess.Popen[bytes], begun: float
) -> tuple[str, int]:
    """Until the program has ended: (why it was ended, "" where it was not; the most memory seen in bytes)."""
    reason, peak, asked_at = "", 0, 0.0
    while process.poll() is None:
        now = time.monotonic()
        used = _memory(peak)
        peak = max(peak, used)
        if not reason:
            reason = _why_end(folder, spec, used, now - begun)
            if reason:
                asked_at = now
                _end_all(signal.SIGKILL if reason == "out of memory" else signal.SIGTERM)
        elif now - asked_at > GRACE:
            _end_all(signal.SIGKILL)
        # Counting much memory takes long: most of the time is left to the program.
        time.sleep(min(LONGEST_LOOK, max(LOOK, 4 * (time.monotonic() - now))))
    return reason, peak


def _why_end(folder: Path, spec: dict[str, Any], used: int, ran: float) -> str:
    if (folder / "stop").exists():
        return "killed"
    if spec["memory"] is not None and used > spec["memory"]:
        return "out of memory"
    if spec["cpu"] is not None and _cpu() > spec["cpu"]:
        return "over cpu"
    return "over time" if ran > spec["timeout"] else ""


def _descendants() -> dict[int, str]:
    """All processes below this one, with their states; what nobody waited for yet is a Z."""
    parents: dict[int, list[int]] = {}
    states: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            states[int(entry.name)] = fields[0]
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = {}, [os.getpid()]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found.update({pid: states[pid] for pid in below})
        waiting += below
    return found


def _living() -> list[int]:
    return [pid for pid, state in _descendants().items() if state != "Z"]


def _reap() -> None:
    """Waits for what ended below us, so that its CPU counts."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _cpu() -> float:
    """Seconds of CPU that they have used together, those that have ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for pid in _descendants():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # its own, and that of the children that it waited for
    return ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def _memory(peak: int) -> int:
    """Bytes that they hold together; what they share counts once, as far as the kernel tells.

    Telling it walks all their pages: that is asked only where they could hold more than `peak`, the most seen so far.
    """
    held = {}
    for pid in _living():
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            held[pid] = pages * resource.getpagesize()
    if sum(held.values()) <= peak:
        return sum(held.values())
    return sum(_share(pid, most) for pid, most in held.items())


def _share(pid: int, most: int) -> int:
    """A process's own pages and its share of those that it has with others; `most` where that cannot be read."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return most


def is_script(path: Path) -> bool:
    """Whether a file names by its first line the program that runs it."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(2) == b"#!"
    return False


def _end_all(how: signal.Signals) -> None:
    """Signals every descendant; with SIGKILL, again and again until none is left."""
    for _ in range(100):
        below = _living()
        for pid in below:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, how)
        if how != signal.SIGKILL or not below:
            return
        time.sleep(0.02)


def _write(path: Path, said: dict[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(said))
    os.replace(draft, path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
