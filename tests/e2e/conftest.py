"""The whole platform, started as `make run` starts it, once for all end-to-end tests of this process."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from podstack import MLOpsClient

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "STORAGE_URL", "VAR_DIR", "DJANGO_SETTINGS_MODULE")


@dataclass(frozen=True)
class Platform:
    """A running platform: where it is, and what its dev.env says."""

    process: subprocess.Popen[bytes]
    var: Path
    url: str
    env: dict[str, str]

    @property
    def token(self) -> str:
        return self.env["PODSTACK_API_TOKEN"]

    def client(self, token: str = "") -> MLOpsClient:
        return MLOpsClient(
            api_token=token or self.token, api_endpoint=self.url, project=self.env["PODSTACK_PROJECT"]
        )

    def processes(self, *words: str) -> list[int]:
        """Living processes below the launcher whose command line holds all of `words`."""
        return [pid for pid in _descendants(self.process.pid) if all(w in _command(pid) for w in words)]


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_platform(var: Path, **settings: str) -> Platform:
    """Starts the launcher on a folder of its own and waits until it is ready."""
    port = free_port()
    clean = {k: v for k, v in os.environ.items() if k not in OURS and not k.startswith("PODSTACK_")}
    environ = {**clean, "VAR_DIR": str(var), "PORT": str(port), "DEMO": "0", **settings}
    log = (var.parent / "launcher.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher"],
        cwd=ROOT,
        env=environ,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    _wait_until_ready(process, url, var.parent / "launcher.log")
    lines = (var / "dev.env").read_text().splitlines()
    env = dict(shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export "))
    return Platform(process, var, url, env)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if requests.get(f"{url}/readyz", timeout=2).ok and "PODSTACK_API_TOKEN" in log.read_text():
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    process.kill()
    pytest.fail(f"The platform did not start:\n{log.read_text()}")


def stop_platform(platform: Platform) -> None:
    """Ctrl-C, and proof that nothing is left."""
    children = _descendants(platform.process.pid)
    platform.process.send_signal(signal.SIGINT)
    platform.process.wait(timeout=60)
    left = [pid for pid in children if "defunct" not in _command(pid) and _command(pid)]
    assert not left, [(_command(pid)) for pid in left]


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    with tempfile.TemporaryDirectory(prefix="platform-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        running = start_platform(Path(folder) / "var", WEB_WORKERS="4")
        try:
            yield running
        finally:
            stop_platform(running)
