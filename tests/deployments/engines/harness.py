"""Engines as the contract suite starts them.

To put another engine under the contract: write a class with the members of `Harness`, and name it in `HARNESSES`.
The suite asks `client()` for the engine (deployments.engines.base.Engine) and sends predictions itself, to
`service.address` with `service.key`, as the gateway does. An engine may keep rows in the tests' database.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import urllib3

from deployments.engines.base import Engine
from deployments.engines.local import LocalEngine
from deployments.engines.ray import RayEngine
from launcher.ports import free_port
from tests.ray_cluster import only_wheels_of, shared_cluster
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent.parent
TOKEN = "engine-token-for-the-contract-suite"


class Harness(Protocol):
    """One engine, started once for all tests of the suite."""

    seconds: float
    """How long a test waits at most for a service to be ready or gone."""
    wheels: Path
    """A folder, and all packages that can be installed for a model are the wheels in it; there once it is started."""

    def start(self, folder: Path) -> None:
        """Starts the engine; `folder` is empty, and other accounts may pass through it."""

    def client(self) -> Engine:
        """What the platform talks to."""

    def processes_of(self, service_id: str) -> list[int]:
        """Living processes of this machine that work for a service."""

    def stop(self) -> None:
        """Ends the engine; nothing of it is left when this returns."""


class LocalHarness:
    """The embedded engine's daemon."""

    seconds = 60.0

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"

    def start(self, folder: Path) -> None:
        self.folder, self.wheels = folder, folder / "wheels"
        self.wheels.mkdir()
        words = [
            "-m",
            "serving.engine",
            "--port",
            self.url.rpartition(":")[2],
            "--state-dir",
            str(folder / "engine"),
        ]
        environ = {"PATH": os.environ["PATH"], "SERVING_ENGINE_TOKEN": TOKEN, "SERVING_GRACE": "3"}
        environ |= only_wheels_of(self.wheels)
        with (folder / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=environ, stdout=log, stderr=log
            )
        until(self._answers, self.seconds)

    def _answers(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.url}/livez", retries=False, timeout=1).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def client(self) -> Engine:
        return LocalEngine(self.url, TOKEN)

    def processes_of(self, service_id: str) -> list[int]:
        home = str(self.folder / "engine" / "run" / service_id)
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _cwd(pid) == home]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


class RayHarness:
    """A cluster of two nodes, whose processes see the test's folders as ours do."""

    seconds = 120.0

    def start(self, folder: Path) -> None:
        self.cluster = shared_cluster()
        self.cluster.heal()
        self.wheels = self.cluster.wheels

    def client(self) -> Engine:
        return RayEngine(self.cluster.dashboard, self.cluster.serve_url, None, 16 << 20)

    def processes_of(self, service_id: str) -> list[int]:
        """A replica's process bears the application's name; the model's runs in a folder that does."""
        name, folder = f"ray::ServeReplica:{service_id}:".encode(), f"/run/{service_id}@"
        actors = [pid for pid in self.cluster.processes() if _command(pid).startswith(name)]
        return actors + [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if folder in _cwd(pid)
        ]

    def stop(self) -> None:
        """The cluster goes on until the session ends: other tests share it."""


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


# The cluster's share takes minutes: `make soak` plays it whole, tests/cluster what matters most.
HARNESSES: Mapping[str, Callable[[], Harness]] = {
    "local": LocalHarness,
    **({"ray": RayHarness} if "SOAK_CLUSTER" in os.environ else {}),
}
