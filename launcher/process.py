"""Starting and ending one process: own session, closed descriptors, own log, ends when the launcher ends."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG_BYTES = 20 * 2**20
_PR_SET_PDEATHSIG = 1
# Loaded here, because a library must not be loaded between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """An operating system account that a server is started as."""

    name: str
    uid: int
    gid: int

    def subprocess_options(self) -> dict[str, Any]:
        """What makes subprocess drop to this account, with none of root's groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can(self, test: str, path: Path) -> bool:
        """Whether this account passes `test -r|-w|-x` on the path, all its parents included."""
        command = ["/bin/sh", "-c", f'test {test} "$1"', "sh", str(path)]
        return subprocess.run(command, cwd="/", **self.subprocess_options()).returncode == 0


def account_named(*names: str) -> Account:
    """The first account of these names that exists. Raises KeyError when none does."""
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise KeyError(names)


def account_of(uid: int) -> Account:
    """The account with this number. Raises KeyError when there is none."""
    entry = pwd.getpwuid(uid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


class Child:
    """One process in a session of its own, which the kernel ends when the process that started it ends.

    Start it from the main thread: the kernel watches the starting thread, not the process.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path = Path("/"),
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        kill_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.env = dict(env)
        self.cwd = cwd
        self.account = account
        self.stop_signal = stop_signal
        self.kill_signal = kill_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process's number (and its process group's), None before the first start."""
        return self._process.pid if self._process else None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs. Fresh after `ended()`."""
        return self._process.returncode if self._process else None

    def start(self, *, stdin: bytes = b"") -> None:
        """Start the process and give it `stdin` to read. Raises OSError when the program cannot be run."""
        options = self.account.subprocess_options() if self.account else {}
        with open_log(self.log) as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
                close_fds=True,
                # After the drop to another account, which would clear it.
                preexec_fn=ends_with_parent(self.stop_signal),
                **options,
            )
        if stdin and self._process.stdin:
            self._process.stdin.write(stdin)
            self._process.stdin.close()

    def ended(self) -> str:
        """Empty while the process runs (or before its start); else how it ended. What it left is killed."""
        process = self._process
        if process is None:
            return ""
        if process.returncode is None and not self._is_zombie(process.pid):
            return ""
        # Before it is reaped: until then, nobody else can have its group's number.
        _signal_group(process.pid, self.kill_signal)
        code = process.wait()
        return f"ended with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"

    def send_stop(self, *, kill: bool = False) -> None:
        """Ask the process to end; with `kill`, its whole group is made to."""
        if self._process is None or self.ended():
            return
        if kill:
            _signal_group(self._process.pid, self.kill_signal)
        else:
            os.kill(self._process.pid, self.stop_signal)

    def stop(self, *, seconds: float = 10) -> None:
        """End the process: ask, wait `seconds`, then kill. Returns when it is gone."""
        self.send_stop()
        if not wait_until(lambda: self._process is None or bool(self.ended()), seconds):
            self.send_stop(kill=True)
            wait_until(lambda: bool(self.ended()), 30)

    @staticmethod
    def _is_zombie(pid: int) -> bool:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class ChildHolder:
    """What PostgreSQL and the broker share: a server that is one Child, made anew at each start."""

    name = ""
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(self, log: Path) -> None:
        self.log = log
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The server's process number, when it was started."""
        return self._child.pid if self._child else None

    def ended(self) -> str:
        """Empty while the server runs; else how it ended."""
        return self._child.ended() if self._child else ""

    def send_stop(self, *, kill: bool = False) -> None:
        """Ask the server to end; with `kill`, at once."""
        if self._child:
            self._child.send_stop(kill=kill)

    def stop(self, *, seconds: float = 10) -> None:
        """End the server: ask, wait `seconds`, then kill."""
        if self._child:
            self._child.stop(seconds=seconds)


def ends_with_parent(number: signal.Signals) -> Callable[[], None]:
    """For subprocess's preexec_fn: the new process gets this signal when the thread that started it ends."""
    parent = os.getpid()

    def ask_kernel() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return ask_kernel


def open_log(path: Path) -> Any:
    """The log file opened for appending, 0600; one that has grown large is put aside as `.1` first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def last_lines(path: Path, count: int = 20) -> list[str]:
    """The last lines of a text file, empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def wait_until(happened: Callable[[], bool], seconds: float, *, pause: float = 0.02) -> bool:
    """Wait until it happened; False when `seconds` went by without it."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True


def _signal_group(pgid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):  # all its members are gone (macOS says the second)
        return
