"""Starts both servers with four web workers on one PostgreSQL, and ends them."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import requests

ROOT = Path(__file__).resolve().parent.parent
WEB_WORKERS = 4
START_SECONDS = 300  # a machine that others use too


@dataclass(frozen=True)
class Server:
    """Where a server answers, and the database it writes to."""

    name: str
    base: str
    headers: dict[str, str]
    database_url: str
    started_in: float
    pid: int
    password: str = ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ours(folder: Path) -> Iterator[Server]:
    """The platform as `make run` starts it, without its demo."""
    port, var = free_port(), folder / "var"
    environ = {
        **os.environ,
        "VAR_DIR": str(var),
        "PORT": str(port),
        "GATEWAY_PORT": str(free_port()),
        "DEMO": "0",
        "WEB_WORKERS": str(WEB_WORKERS),
        "REQUESTS_PER_SECOND": "0",  # one token sends all that the processes can answer
    }
    base = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "launcher"], environ, folder / "ours.log") as (begun, pid):
        took = wait_for(f"{base}/readyz", begun)
        while not (var / "dev.env").exists() or not (var / "platform.env").exists():
            time.sleep(0.05)
        env, settings = _env(var / "dev.env"), _env(var / "platform.env")
        headers = {"Authorization": f"Bearer {env['PODSTACK_API_TOKEN']}"}
        yield Server(
            "ours", base, headers, settings["DATABASE_URL"], took, pid, env["PODSTACK_ADMIN_PASSWORD"]
        )


@contextmanager
def mlflow(folder: Path, python: Path, database_url: str) -> Iterator[Server]:
    """`mlflow server` on a database of its own in the same PostgreSQL."""
    with psycopg.connect(database_url, autocommit=True) as link:
        link.execute("DROP DATABASE IF EXISTS bench_mlflow")
        link.execute("CREATE DATABASE bench_mlflow")
    port, own = free_port(), database_url.rsplit("/", 1)[0] + "/bench_mlflow"
    argv = [str(python.parent / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--backend-store-uri", own, "--workers", str(WEB_WORKERS)]
    argv += ["--artifacts-destination", str(folder / "mlflow-files")]
    with running(argv, dict(os.environ), folder / "mlflow.log") as (begun, pid):
        took = wait_for(f"http://127.0.0.1:{port}/health", begun)
        yield Server("mlflow", f"http://127.0.0.1:{port}", {}, own, took, pid)


@contextmanager
def running(argv: list[str], environ: dict[str, str], log: Path) -> Iterator[tuple[float, int]]:
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environ, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield begun, process.pid
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{log.read_text()[-3000:]}") from error
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(url: str, begun: float) -> float:
    while time.perf_counter() - begun < START_SECONDS:
        try:
            if requests.get(url, timeout=2).ok:
                return time.perf_counter() - begun
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within {START_SECONDS} s.")


def settings_of(folder: Path) -> dict[str, str]:
    """The settings of the platform that `ours` started on this folder."""
    return _env(folder / "var" / "platform.env")


def _env(path: Path) -> dict[str, str]:
    found = {}
    for line in path.read_text().splitlines():
        for word in shlex.split(line):
            if "=" in word:
                name, value = word.split("=", 1)
                found[name] = value
    return found
