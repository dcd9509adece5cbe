"""Training as jobs of a real cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduling.engines.base import EngineAway, Seen, Work
from scheduling.engines.ray import ENTRYPOINT, RayTraining
from tests.ray_cluster import RayCluster, free_ports
from tests.waiting import until

pytestmark = pytest.mark.slow

SAYS = """
import json, os, sys
print("configured", json.load(open(os.environ["PODSTACK_CONFIGURATION"])), sys.argv[1:], flush=True)
print("knows", sorted(name for name in os.environ if "TOKEN" in name or name.startswith("RAY")), flush=True)
import podstack
sys.exit(3)
"""


@pytest.fixture
def training(ray_cluster: RayCluster) -> Iterator[RayTraining]:
    yield RayTraining(ray_cluster.dashboard)


def work(program: str, **changes: Any) -> Work:
    def bring(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "train.py").write_text(program)

    values: dict[str, Any] = {
        "execution_id": f"exec-{time.monotonic_ns()}",
        "command": ["python", "train.py", "a word; with $(signs)"],
        "env": {},
        "secrets": {"PODSTACK_API_TOKEN": lambda: "secret-of-this-run"},
        "configuration": {"depth": 3},
        "timeout": 600,
        "memory": None,
        "bring_code": bring,
    }
    return Work(**{**values, **changes})


def ended(training: RayTraining, execution_id: str) -> Seen:
    until(lambda: training.observe(execution_id).state not in ("running", "absent"), 120)
    return training.observe(execution_id)


def test_a_program_runs_once_and_its_end_is_told(training: RayTraining) -> None:
    wanted = work(SAYS)
    assert training.observe(wanted.execution_id).state == "absent"
    training.start(wanted)
    training.start(wanted)
    training.dashboard.submit_job({"submission_id": wanted.execution_id, "entrypoint": "false"})
    seen = ended(training, wanted.execution_id)
    assert (seen.state, seen.exit_code, seen.reason) == ("ended", 3, "failed"), seen
    assert seen.cpu_seconds is not None and seen.peak_memory and seen.peak_memory > 1 << 20
    log = training.log(wanted.execution_id, 0, 10_000).decode()
    own_line = f"Running entrypoint for job {wanted.execution_id}: {ENTRYPOINT}\n"
    assert own_line in training.dashboard.job_log(wanted.execution_id).decode() and own_line not in log
    assert log.startswith("configured {'depth': 3} ['a word; with $(signs)']\n"), log
    assert "knows ['PODSTACK_API_TOKEN']" in log
    assert training.log(wanted.execution_id, 11, 5) == log.encode()[11:16]
    assert training.log_size(wanted.execution_id) == len(log.encode())
    training.forget(wanted.execution_id)
    assert training.observe(wanted.execution_id).state == "absent"


def test_stopping_ends_the_whole_tree(training: RayTraining) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "print('pids', os.getpid(), child.pid, flush=True)\ntime.sleep(300)\n"
    )
    wanted = work(program)
    training.start(wanted)
    until(lambda: b"pids" in training.log(wanted.execution_id, 0, 1000), 120)
    pids = [int(word) for word in training.log(wanted.execution_id, 0, 1000).split()[1:3]]
    training.stop(wanted.execution_id)
    seen = ended(training, wanted.execution_id)
    assert (seen.state, seen.reason) == ("ended", "killed"), seen
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 10)


def test_limits_are_kept(training: RayTraining) -> None:
    slow = work("import time; time.sleep(300)", timeout=1)
    big = work("x = bytearray(400 << 20); import time; time.sleep(300)", memory=200 << 20)
    for one in (slow, big):
        training.start(one)
    assert ended(training, slow.execution_id).reason == "over time"
    assert ended(training, big.execution_id).reason == "out of memory"


def test_a_cluster_that_is_away_says_so(training: RayTraining) -> None:
    training.dashboard.url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(EngineAway, match="does not answer"):
        training.observe("exec-1")
