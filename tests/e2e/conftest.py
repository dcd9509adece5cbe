"""The whole platform, started as `make run` starts it, once for all end-to-end tests of this process."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from launcher.ports import free_port
from podstack import MLOpsClient
from tests.databases import copied

expect.set_options(timeout=60_000)  # other tests may need the machine
ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "STORAGE_URL", "VAR_DIR", "DJANGO_SETTINGS_MODULE")


@dataclass(frozen=True)
class Platform:
    """A running platform: where it is, and what its dev.env says."""

    process: subprocess.Popen[bytes]
    var: Path
    url: str
    gateway_url: str
    env: dict[str, str]

    @property
    def token(self) -> str:
        return self.env["PODSTACK_API_TOKEN"]

    def client(self, token: str = "") -> MLOpsClient:
        return MLOpsClient(
            api_token=token or self.token, api_endpoint=self.url, project=self.env["PODSTACK_PROJECT"]
        )

    def member(self, name: str, role: str) -> MLOpsClient:
        """The client of a new member with this role, whose password is `<name>-password-1`."""
        said = self.shell(f"from tests.e2e.conftest import add_person; print(add_person({name!r}))")
        self.client().set_member(name, role)
        return self.client(said.split()[-1])

    def shell(self, program: str) -> str:
        """What a program prints inside this platform."""
        (pid, *_) = self.processes("manage.py", "dispatch_jobs")
        environ = dict(
            line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in line
        )
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", program]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self, *words: str) -> list[int]:
        """Living processes below the launcher whose command line holds all of `words`."""
        return [pid for pid in _descendants(self.process.pid) if all(w in _command(pid) for w in words)]


def add_person(name: str) -> str:
    """Runs inside the platform: a user who can sign in, and a token of theirs."""
    from accounts.choices import Door, Scope
    from accounts.models import User
    from accounts.permissions import Actor
    from accounts.services import create_token

    user = User.objects.create_user(name, password=f"{name}-password-1")
    return create_token(actor=Actor(user=user, door=Door.COMMAND), name="tests", scopes=[Scope.WRITE])[1]


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


def start_platform(var: Path, **settings: str) -> Platform:
    """Starts the launcher on a folder of its own and waits until it is ready."""
    port, gateway_port = free_port(), free_port()
    clean = {k: v for k, v in os.environ.items() if k not in OURS and not k.startswith("PODSTACK_")}
    environ = {**clean, "VAR_DIR": str(var), "DEMO": "0", **settings}
    environ |= {"PORT": str(port), "GATEWAY_PORT": str(gateway_port)}
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
    return Platform(process, var, url, f"http://127.0.0.1:{gateway_port}", env)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 300
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


@contextmanager
def running(**settings: str) -> Iterator[Platform]:
    """A platform in a folder of its own, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="platform-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        started = start_platform(Path(folder) / "var", **settings)
        try:
            yield started
        finally:
            stop_platform(started)


@contextmanager
def another_platform(**settings: str) -> Iterator[Platform]:
    """A platform beside `platform`, which alone makes its database and tables itself: this one is given a copy."""
    with copied() as database_url, running(DATABASE_URL=database_url, **settings) as started:
        yield started


# Of the package: with the folder's last test it ends, and leaves the machine to those that follow.
@pytest.fixture(scope="package")
def platform() -> Iterator[Platform]:
    """A platform that was started as `make run` starts it at the first time: PostgreSQL is its own."""
    with running(WEB_WORKERS="4") as started:
        yield started
