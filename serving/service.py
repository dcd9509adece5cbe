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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving import account, processes

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PROCESSES = 512
EVENTS_LIMIT = 256 << 10  # the model's own code could write to the status pipe too


@dataclass(frozen=True)
class Spec:
    """What is to be served: absolute folder of model files, number of workers, and the names it has."""

    model_dir: str
    replicas: int
    endpoint_name: str
    model_name: str
    model_version: str


@dataclass(frozen=True)
class Settings:
    """Limits of all services, from the engine's SERVING_… variables. Seconds and bytes."""

    load_timeout: int = 120
    grace: int = 10
    threads: int = 8
    memory_bytes: int = 0
    file_bytes: int = 1 << 30
    max_body_bytes: int = 32 << 20
    log_bytes: int = 8 << 20


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
    loaded: set[int] = field(default_factory=set)
    probing: bool = False
    asked_to_stop: float | None = None
    ended: bool = False
    rest: bytes = b""

    def as_dict(self) -> dict[str, object]:
        """As the control API shows it."""
        return {
            "id": self.id,
            "state": self.state,
            "address": f"http://127.0.0.1:{self.port}" if self.port else "",
            "key": self.key,
            "replicas": self.spec.replicas,
            "reason": self.reason,
            "pid": self.process.pid if self.process else None,
            "started_at": self.started_at,
        }

    def start(self, settings: Settings, uid: int | None) -> None:
        """Bind a free port of the loopback address and start the process group. Raises OSError."""
        self.uid = uid
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
                "memory_bytes": settings.memory_bytes or _machine_memory(),
                "file_bytes": settings.file_bytes,
                "processes": PROCESSES if self.uid is not None else 0,
            },
        }
        drop: dict[str, Any] = (
            {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}
        )
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "serving.spawn", json.dumps(wanted)],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listen_fd, status_fd),
                start_new_session=True,
                **drop,
            )

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

    def tail(self, lines: int) -> list[str]:
        """The last lines of the log, of at most 1 MiB."""
        try:
            with open(self.log, "rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - (1 << 20)))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        return text.splitlines()[-lines:]


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
