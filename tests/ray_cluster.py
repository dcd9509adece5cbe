"""A real Ray cluster on this machine, for tests: a head and a second node that says it has a T4."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import urllib3

from cluster.dashboard import Dashboard
from launcher.ports import free_port

TOKEN = "ray-token-for-tests-0123456789abcdef"
MARK = "PODSTACK_TEST_CLUSTER"
STORE_BYTES = 80_000_000
QUICK = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    "RAY_enable_metrics_collection": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
}


class RayCluster:
    """Its processes carry a mark in their environment, by which they, and no others, are found and ended."""

    def __init__(self) -> None:
        # Sockets below it must have short names.
        self.folder = Path(tempfile.mkdtemp(prefix="pr-", dir="/tmp"))
        self.mark = f"{self.folder.name}-{os.getpid()}"
        self.gcs, self.dashboard_port, self.serve_port, *self.spare = free_ports(8)
        self.url = f"http://127.0.0.1:{self.dashboard_port}"
        self.serve_url = f"http://127.0.0.1:{self.serve_port}"
        self.workers = 0
        self.wheels = self.folder / "wheels"  # all packages that its nodes can install
        for folder in (self.wheels, self.folder / "tmp"):
            folder.mkdir()
        self.folder.chmod(0o755)  # accounts of models pass through it

    @property
    def dashboard(self) -> Dashboard:
        return Dashboard(self.url, TOKEN)

    def start(self) -> None:
        self.start_head()
        self.start_worker()

    def start_head(self) -> None:
        self._start(
            1,
            "head",
            "--head",
            f"--port={self.gcs}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.dashboard_port}",
            f"--dashboard-agent-listen-port={self.spare[0]}",
            f"--ray-client-server-port={self.spare[1]}",
            "--no-monitor",
            f"--temp-dir={self.folder}",
            "--num-cpus=4",
        )

    def start_worker(self) -> None:
        self.workers += 1
        self._start(
            2,
            f"worker{self.workers}",
            f"--address=127.0.0.1:{self.gcs}",
            f"--dashboard-agent-listen-port={free_ports(1)[0]}",
            "--num-cpus=6",
            "--num-gpus=2",
            '--resources={"accelerator_type:T4": 1}',
        )

    def _start(self, count: int, name: str, *words: str) -> None:
        """Until so many nodes live. A node gives up after 30 s, which a busy machine needs to start one."""
        process = self._run(name, *words)
        deadline = time.monotonic() + 300
        while len(self._nodes()) < count:
            assert time.monotonic() < deadline, f"No node came up; see {self.folder}."
            if process.poll() is not None:
                self.kill(name)
                process = self._run(name, *words)
            time.sleep(0.5)

    def _run(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("ray")),
                    "start",
                    *words,
                    "--node-ip-address=127.0.0.1",
                    f"--object-store-memory={STORE_BYTES}",
                    "--disable-usage-stats",
                    "--block",
                ],
                env={
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "HOME": str(self.folder),
                    "TMPDIR": str(self.folder / "tmp"),
                    "RAY_AUTH_MODE": "token",
                    "RAY_AUTH_TOKEN": TOKEN,
                    **only_wheels_of(self.wheels),
                    MARK: self.mark,
                    f"{MARK}_NODE": name,
                    **QUICK,
                },
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _nodes(self) -> list[Any]:
        try:
            return self.dashboard.nodes()
        except Exception:
            return []

    def processes(self, node: str = "") -> list[int]:
        """Processes of this cluster, or of one of its nodes ("head", "worker1", …)."""
        wanted = {f"{MARK}={self.mark}".encode()}
        if node:
            wanted.add(f"{MARK}_NODE={node}".encode())
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
        return found

    def kill(self, node: str = "") -> None:
        """SIGKILL to all processes of a node at once, or of the whole cluster, until none is left."""
        deadline = time.monotonic() + 120
        while found := self.processes(node):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, "Processes of the cluster cannot be ended."
            time.sleep(0.1)

    def kill_worker(self) -> None:
        """SIGKILL to the node beside the head."""
        self.kill(f"worker{self.workers}")

    def heal(self) -> None:
        """Brings back what a test took away."""
        if not self._answers():
            self.kill()
            self.start()
        elif not self.processes(f"worker{self.workers}"):  # the head may not have noticed yet
            self.start_worker()

    def _answers(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.url}/api/version", retries=False, timeout=3).status < 500
        except urllib3.exceptions.HTTPError:
            return False


def only_wheels_of(folder: Path) -> dict[str, str]:
    """Variables by which installers know the wheels in a folder and no index."""
    return {
        "PIP_FIND_LINKS": str(folder),
        "PIP_NO_INDEX": "1",
        "UV_FIND_LINKS": str(folder),
        "UV_OFFLINE": "1",
    }


def free_ports(count: int) -> list[int]:
    """Ports that neither an outgoing connection nor a worker of Ray (10002 to 19999) takes meanwhile."""
    found: set[int] = set()
    while len(found) < count:
        port = free_port()
        if port >= 20_000:
            found.add(port)
    return list(found)


def end_shared_cluster() -> None:
    """Ends the cluster of this process's tests, which else slows down all that run after them."""
    if shared_cluster.cache_info().currsize:
        shared_cluster().kill()
        shared_cluster.cache_clear()


@functools.cache
def shared_cluster() -> RayCluster:
    """The cluster of this process's tests; when the process ends, none of the cluster's processes is left."""
    cluster = RayCluster()
    atexit.register(shutil.rmtree, cluster.folder, ignore_errors=True)
    atexit.register(cluster.kill)
    cluster.start()
    return cluster
