"""Files up and down by each one's own client library: one of 1 GiB, and a thousand of 10 KiB."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.memory import web_memory
from bench.servers import ROOT, Server

OURS = """
import json, shutil, sys, time
from podstack import MLOpsClient
source, target = sys.argv[1:]
client = MLOpsClient()
took = {}
def timed(name, call):
    begun = time.perf_counter(); result = call(); took[name] = time.perf_counter() - begun
    return result
with client.start_run("files") as run:
    timed("up", lambda: run.log_artifact(source))
    timed("up_again", lambda: run.log_artifact(source, "again"))
version = client.create_model_version("files", run.id, source.rpartition("/")[2], wait=False)
down = lambda: client.download_model_version("files", version.version, target)
timed("down", down)
timed("down_again", down)
print(json.dumps(took))
"""
THEIRS = """
import json, os, sys, time
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
import mlflow
source, target = sys.argv[1:]
mlflow.set_experiment("files")
took = {}
def timed(name, call):
    begun = time.perf_counter(); result = call(); took[name] = time.perf_counter() - begun
    return result
log = mlflow.log_artifacts if os.path.isdir(source) else mlflow.log_artifact
with mlflow.start_run() as run:
    timed("up", lambda: log(source, "m"))
    timed("up_again", lambda: log(source, "m"))
uri = f"runs:/{run.info.run_id}/m"
down = lambda: mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=target)
timed("down", down)
timed("down_again", down)
print(json.dumps(took))
"""


@dataclass(frozen=True)
class Transfers:
    """Seconds for each way, first and second time, and by how many MiB the web processes grew meanwhile."""

    up: float
    down: float
    up_again: float
    down_again: float
    grew: float


def transfers(server: Server, source: Path, folder: Path, python: Path) -> Transfers:
    """What the client library of `server`, installed for `python`, takes for `source`, a file or a folder."""
    target = folder / f"down-{server.name}"
    script = OURS if server.name == "ours" else THEIRS
    before = web_memory(server)
    with _highest(server) as highest:
        took = _played(script, python, [str(source), str(target)], _environ(server))
    shutil.rmtree(target, ignore_errors=True)
    return Transfers(**took, grew=max(highest) - before)


def big_file(folder: Path, size: int) -> Path:
    """Random bytes, `size` of them."""
    path = folder / "big.bin"
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    return path


def many_files(folder: Path, count: int = 1000, size: int = 10 << 10) -> Path:
    """A folder of `count` files of random bytes."""
    path = folder / "many"
    path.mkdir()
    for number in range(count):
        (path / f"{number}.bin").write_bytes(os.urandom(size))
    return path


def _environ(server: Server) -> dict[str, str]:
    token = server.headers.get("Authorization", "").removeprefix("Bearer ")
    ours = {
        "PODSTACK_API_ENDPOINT": server.base,
        "PODSTACK_API_TOKEN": token,
        "PODSTACK_PROJECT": "default",
        "PYTHONPATH": str(ROOT),
    }
    return {**os.environ, **(ours if server.name == "ours" else {"MLFLOW_TRACKING_URI": server.base})}


def _played(script: str, python: Path, words: list[str], environ: dict[str, str]) -> Any:
    argv = [sys.executable if "podstack" in script else str(python), "-c", script, *words]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=600, cwd="/")
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextmanager
def _highest(server: Server) -> Iterator[list[float]]:
    """The memory of the web processes, looked at again and again while the block runs."""
    found, done = [web_memory(server)], threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            found.append(web_memory(server))

    watcher = threading.Thread(target=look)
    watcher.start()
    begun = time.monotonic()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        assert time.monotonic() >= begun
