"""Models and processes that fail: each ends in a state that is true, with a sentence, and with no process left.

SOAK_FAULT_ROUNDS repeats each.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from serving import processes
from tests.serving import samples
from tests.serving.test_engine import ROOT, TOKEN, Engine, ask
from tests.waiting import until

pytestmark = pytest.mark.slow
ROUNDS = range(int(os.environ.get("SOAK_FAULT_ROUNDS", "1")))
SLOW_SECONDS = 60 if len(ROUNDS) > 1 else 3
CODE = """
import os, time
class Predictor:
    def load(self, path):
        {load}
    def predict(self, rows):
        if rows == ["exit"]: os._exit(9)
        return [os.getpid() for row in rows]
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    one = Engine(
        tmp_path_factory.mktemp("engine"),
        SERVING_LOAD_TIMEOUT="30",
        SERVING_MEMORY_BYTES=str(2 << 30),
        SERVING_GRACE="2",
    )
    yield one
    one.end()


def _model(path: Path, load: str = "pass") -> Path:
    return samples.folder(path / "m", predictor__py=CODE.format(load=load))


@pytest.mark.parametrize("turn", ROUNDS)
@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        ("time.sleep(600)", "The model was not loaded within 30 seconds"),
        (
            "import numpy; self.kept = [numpy.zeros(64 << 20) for _ in range(1000)]",
            "needs more memory to load",
        ),
        ("os._exit(9)", "while it loaded the model"),
    ],
)
def test_a_model_that_does_not_come_up_fails(
    engine: Engine, tmp_path: Path, load: str, sentence: str, turn: int
) -> None:
    engine.put("bad", _model(tmp_path, load))
    pid = [0]

    def settled() -> bool:
        service = engine.get("bad")
        pid[0] = service["pid"] or pid[0]
        return bool(service["state"] != "starting")

    until(settled, 60)
    service = engine.get("bad")
    assert service["state"] == "failed" and sentence in service["reason"], service["reason"]
    assert processes.members(pid[0], None) == []
    engine.delete("bad")


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Engine]:
    """An engine that waits for models longer than they take here."""
    one = Engine(tmp_path / "engine", SERVING_LOAD_TIMEOUT="180")
    yield one
    one.end()


def test_models_that_load_slowly_are_starting_until_they_answer(patient: Engine, tmp_path: Path) -> None:
    model = _model(tmp_path, f"time.sleep({SLOW_SECONDS})")
    names = [f"slow-{turn}" for turn in ROUNDS]
    begun = time.monotonic()
    for name in names:
        patient.put(name, model)
    while time.monotonic() < begun + SLOW_SECONDS:
        assert {patient.get(name)["state"] for name in names} == {"starting"}
        time.sleep(1)
    until(lambda: all(patient.get(name)["state"] != "starting" for name in names), 120)
    for name in names:
        service = patient.get(name)
        assert service["state"] == "ready" and ask(service, [1]).status_code == 200, service["reason"]


@pytest.mark.parametrize("turn", ROUNDS)
def test_a_replica_that_dies_is_replaced_and_told_meanwhile(
    engine: Engine, tmp_path: Path, turn: int
) -> None:
    engine.put("dies", _model(tmp_path), replicas=2)
    until(lambda: engine.get("dies")["state"] == "ready", 60)
    service = engine.get("dies")
    before = {worker["id"] for worker in service["workers"]}
    with pytest.raises(requests.ConnectionError):
        ask(service, ["exit"])
    until(lambda: _told(engine) - before != set() and len(_told(engine)) == 2, 60)
    assert engine.get("dies")["state"] == "ready"
    assert ask(engine.get("dies"), [1]).status_code == 200
    engine.delete("dies")
    assert processes.members(service["pid"], None) == []


def _told(engine: Engine) -> set[str]:
    return {worker["id"] for worker in engine.get("dies")["workers"] if worker["state"] == "ready"}


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "serving.engine", "--port", port, "--state-dir", str(tmp_path)],
            env={**os.environ, "SERVING_ENGINE_TOKEN": TOKEN},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1 and f"Port {port} cannot be used" in done.stderr
