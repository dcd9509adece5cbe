"""One service: its state, and the process group that serves it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from serving import account, processes
from serving.environments import Environment

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PROCESSES = 512
SIGNAL_GAP = 0.1  # the kernel joins two equal signals that wait
MOST_PIDS = 1000
LONGEST_TAIL = 1 << 20
EVENTS_LIMIT = 256 << 10  # the model's own code could write to the status pipe too


@dataclass(frozen=True)
class Spec:
    """What is to be served: absolute folder of model files, number of workers, the names it has, and how many
    rows of waiting requests are joined to one call of the model.
    """

    model_dir: str
    replicas: int
    endpoint_name: str
    model_name: str
    model_version: str
    max_batch_size: int = 1
    max_delay_ms: int = 0


@dataclass(frozen=True)
class Settings:
    """Limits of all services, from the engine's SERVING_… variables. Seconds and bytes."""

    load_timeout: int = 120
    grace: int = 120
    threads: int = 8
    memory_bytes: int = 0
    file_bytes: int = 1 << 30
    max_body_bytes: int = 32 << 20
    log_bytes: int = 8 << 20
    packages: str = "version"
    """Whether a version's own requirements.txt counts ("version"), or only what the platform has ("platform")."""
    install_timeout: int = 600
    environments_keep: int = 7 * 24 * 3600
    logs_keep: int = 7 * 24 * 3600


@dataclass
class Service:
    """A service and the process that serves it. Only the engine's main thread starts and ends processes."""

    id: str
    spec: Spec
    folder: Path
    log: Path
    state: str = "starting"
    reason: str = ""
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    port: int = 0
    uid: int | None = None
    process: subprocess.Popen[bytes] | None = None
    status: int | None = None
    began: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    workers: dict[int, str] = field(default_factory=dict)
    told: int = 0
    told_at: float = 0
    probing: bool = False
    asked_to_stop: float | None = None
    ended: bool = False
    environment: Environment | None = None
    load_seconds: int = 0
    rest: bytes = b""

    def as_dict(self) -> dict[str, object]:
        """As the control API shows it."""
        return {
            "id": self.id,
            "state": self.state,
            "address": f"http://127.0.0.1:{self.port}" if self.port else "",
            "key": self.key,
            "replicas": self.spec.replicas,
            "preparing": self.preparing,
            "load_seconds": self.load_seconds,
            "workers": [{"id": str(pid), "state": state} for pid, state in list(self.workers.items())],
            "reason": self.reason,
            "pid": self.process.pid if self.process else None,
            "started_at": self.started_at,
        }

    def start(self, settings: Settings, uid: int | None) -> None:
        """Bind a free port of the loopback address and start the process group. Raises OSError."""
        self.uid = uid
        self.began = time.monotonic()
        self._make_folder()
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        reading, writing = os.pipe()
        try:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.port = listener.getsockname()[1]
            self.process = self._spawn(settings, listener.fileno(), writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            listener.close()
            os.close(writing)
        os.set_blocking(reading, False)
        self.status = reading
        self.told, self.told_at = self.spec.replicas, time.monotonic()

    @property
    def preparing(self) -> bool:
        """Whether its packages are still being installed, which has a time limit of its own."""
        return self.environment is not None and self.process is None and self.state == "starting"

    @property
    def loaded(self) -> int:
        """How many workers have loaded the model."""
        return sum(state == "ready" for state in self.workers.values())

    def hear(self, kind: object, pid: object) -> None:
        """Note what a worker said of itself, or the master of a worker."""
        if not isinstance(pid, int):
            return
        if kind == "gone":
            self.workers.pop(pid, None)
        elif len(self.workers) < MOST_PIDS:
            self.workers[pid] = "ready" if kind == "loaded" else "starting"

    def scale(self, grace: int) -> None:
        """Tell the master of one worker more or fewer, one signal at a time, until it has what is wanted."""
        now = time.monotonic()
        if self.process is None or not self.workers or now - self.told_at < SIGNAL_GAP:
            return
        if self.told == self.spec.replicas:
            if len(self.workers) == self.told:
                self.told_at = now
            elif now - self.told_at > grace + 10:  # a signal went astray
                self.told, self.told_at = len(self.workers), now
            return
        more = self.told < self.spec.replicas
        self.process.send_signal(signal.SIGTTIN if more else signal.SIGTTOU)
        self.told, self.told_at = self.told + (1 if more else -1), now
        if not more:  # gunicorn ends its oldest
            ending = next((pid for pid, state in self.workers.items() if state != "stopping"), None)
            if ending is not None:
                self.workers[ending] = "stopping"

    def _make_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        if self.uid is not None:
            os.chown(self.folder, self.uid, self.uid)

    def _spawn(self, settings: Settings, listen_fd: int, status_fd: int) -> subprocess.Popen[bytes]:
        wanted = {
            **asdict(self.spec),
            **asdict(settings),
            "parent": os.getpid(),
            "listen_fd": listen_fd,
            "status_fd": status_fd,
            "limits": {
                "memory_bytes": settings.memory_bytes or usual_memory(),
                "file_bytes": settings.file_bytes,
                "processes": PROCESSES if self.uid is not None else 0,
            },
        }
        drop: dict[str, Any] = (
            {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}
        )
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [self._python, "-P", "-m", "serving.spawn", json.dumps(wanted)],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listen_fd, status_fd),
                start_new_session=True,
                **drop,
            )

    @property
    def _python(self) -> str:
        return self.environment.python if self.environment else sys.executable

    def copy_log_of(self, environment: Environment) -> None:
        """Keep what the installer said with what the model says."""
        with contextlib.suppress(OSError), open(self.log, "ab") as log:
            log.write(environment.log.read_bytes()[-LONGEST_TAIL:])

    def _environment(self) -> dict[str, str]:
        """Never the platform's secrets: only these names are passed on."""
        return {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            **dict.fromkeys(ONE_THREAD, "1"),
            "PYTHONPATH": str(account.CODE),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "SERVING_KEY": self.key,
        }

    def events(self) -> list[dict[str, Any]]:
        """Events that the process group has reported since the last call."""
        if self.status is None:
            return []
        data = self.rest
        with contextlib.suppress(BlockingIOError):
            while len(data) < EVENTS_LIMIT and (more := os.read(self.status, 65536)):
                data += more
        *lines, self.rest = data[:EVENTS_LIMIT].split(b"\n")
        return [event for line in lines if (event := _event(line))]

    def stop_gracefully(self) -> None:
        """Ask the master to finish its requests and end."""
        self.asked_to_stop = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """End every process of the service now, and tidy up; once only, since pids are used again."""
        if self.ended:
            return
        self.ended = True
        if self.process is not None:
            processes.end_all(self.process.pid, self.uid)
            self.process.wait()
        if self.status is not None:
            os.close(self.status)
            self.status = None
        self.workers.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cap_log(self, most: int) -> None:
        """Keep the last half of a log that grew over `most` bytes."""
        try:
            if self.log.stat().st_size <= most:
                return
            with open(self.log, "r+b") as log:
                log.seek(-(most // 2), os.SEEK_END)
                kept = log.read()
                log.truncate(0)
            with open(self.log, "ab") as log:
                log.write(kept)
        except OSError:
            return


def tail(path: Path, lines: int, worker: str = "", search: str = "") -> list[str]:
    """The last lines of a log; those of one worker, or that hold a text, if asked for. Raises OSError."""
    wanted, mark, kept = search.lower(), f"] [{worker}] " if worker else "", deque[str](maxlen=lines)
    with open(path, encoding="utf-8", errors="replace") as log:
        if not (wanted or mark):
            _near_end(log, LONGEST_TAIL)
        for line in log:
            if mark in line and wanted in line.lower():
                kept.append(line.rstrip("\n"))
    return list(kept)


def _near_end(log: TextIO, size: int) -> None:
    end = log.seek(0, os.SEEK_END)
    log.seek(max(0, end - size))


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def usual_memory(driver: Path = Path("/dev/nvidiactl")) -> int:
    """The machine's memory; 0, no limit, beside a GPU: CUDA reserves more addresses than the machine has bytes."""
    if driver.exists():
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
