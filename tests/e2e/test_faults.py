"""Processes killed in the middle of their work."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import joblib
import pytest
import requests
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.e2e.conftest import Platform
from tests.waiting import until

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("SOAK_FAULT_ROUNDS", "1"))


def an_iris_version(platform: Platform, folder: Path, model_name: str) -> int:
    data = load_iris()
    joblib.dump(LogisticRegression(max_iter=1000).fit(data.data, data.target), folder / "model.joblib")
    client = platform.client()
    with client.start_run(experiment_id="faults") as run:
        run.log_artifact(folder / "model.joblib")
    return client.create_model_version(model_name, run.id, "model.joblib").version


def test_a_worker_killed_in_the_middle_of_a_deployment_leaves_a_true_state_and_no_orphan(
    platform: Platform, tmp_path: Path
) -> None:
    client = platform.client()
    version = an_iris_version(platform, tmp_path, "killed-worker")
    for number in range(ROUNDS):
        client.deploy_model("killed-worker", version, f"killed-{number}")
        time.sleep(0.05 + 0.15 * number % 2)
        workers = platform.processes("celery", "worker")
        assert workers
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        until(lambda name=f"killed-{number}": client.get_deployment(name).state in ("Active", "Failed"))
        deployment = client.get_deployment(f"killed-{number}")
        assert deployment.state == "Active" or deployment.reason
        client.undeploy(f"killed-{number}")
    until(lambda: not platform.processes("serving.spawn", "killed-"), 120)


def test_web_and_gateway_processes_that_are_killed_come_back_and_the_endpoint_answers(
    platform: Platform, tmp_path: Path
) -> None:
    client = platform.client()
    version = an_iris_version(platform, tmp_path, "killed-web")
    deployment = client.deploy_model("killed-web", version, "killed-web").wait(timeout=120)
    for words in (("launcher.web",), ("-m gateway",)) * ROUNDS:
        killed = platform.processes(*words)
        assert killed
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: _answers(platform, deployment.endpoint_url))
        assert client.get_deployment("killed-web").state == "Active"
    client.undeploy("killed-web")


def _answers(platform: Platform, url: str) -> bool:
    headers = {"Authorization": f"Bearer {platform.token}"}
    row = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
    try:
        ready = requests.get(f"{platform.url}/readyz", timeout=10).ok
        return ready and requests.post(url, json=row, headers=headers, timeout=10).ok
    except requests.RequestException:
        return False


def test_a_broker_killed_loses_no_job(platform: Platform, tmp_path: Path) -> None:
    client = platform.client()
    data = tmp_path / "notes.txt"
    data.write_text("plain text")
    with client.start_run(experiment_id="faults") as run:
        run.log_artifact(data)
    for pid in platform.processes("valkey-server") or platform.processes("redis-server"):
        os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    version = client.create_model_version("broker-away", run.id, "notes.txt", wait=False)
    assert time.monotonic() - begun < 5  # it does not wait for the broker, whose time-outs are longer
    until(lambda: client.get_model_version("broker-away", version.version).status != "Pending")
