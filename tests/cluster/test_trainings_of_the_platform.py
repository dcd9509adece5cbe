"""Scheduled training on a real cluster through the platform: schedules by the SDK, executions by the workers' jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from podstack import MLOpsClient
from podstack.models import ScheduleExecution
from scheduling.executions import look_after
from tests.deployments.conftest import tasks, work_until
from tests.factories import make_person, make_project
from tests.ray_cluster import RayCluster, free_ports
from tests.waiting import until

__all__ = ["tasks"]
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
ROUNDS = range(int(os.environ.get("SOAK_FAULT_ROUNDS", "1")))
SOAKED = pytest.mark.skipif("SOAK_CLUSTER" not in os.environ, reason="played by `make soak`")
SECONDS = 180
LOST = {
    "worker": "The cluster's node on which it ran went down.",
    "head": "The cluster's head was lost, and the job with it.",
}
FOREVER = """
import os, subprocess, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("pids", os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
# What was begun on another node is begun again, and then ends well.
LUCKY = """
import os, time
from pathlib import Path
begun_before = Path(os.environ["CONFIG_MARK"])
print("pids", os.getpid(), flush=True)
if not begun_before.exists():
    begun_before.touch()
    time.sleep(600)
"""
LEARNS = """
import os
from podstack import MLOpsClient
with MLOpsClient().start_run(experiment_id="wine") as run:
    run.log_metrics({"accuracy": 0.9}, step=1)
    open("predictor.py", "w").write("class Predictor:\\n    def predict(self, rows):\\n        return rows\\n")
    run.log_artifact("predictor.py")
print("trained", os.environ["CONFIG_EPOCHS"], "epochs", flush=True)
"""


class Trainings:
    """Schedules on the cluster, looked after by jobs as workers run them."""

    def __init__(self, client: MLOpsClient, folder: Path) -> None:
        self.client, self.folder = client, folder
        client.create_experiment("wine")

    def begin(self, name: str, program: str, **values: Any) -> ScheduleExecution:
        """A schedule of this program, and Run now."""
        self.folder.joinpath("train.py").write_text(program)
        code = self.client.upload_training_code("wine", self.folder, ["python", "train.py"])
        self.client.create_schedule(name, "wine", "0 0 1 1 *", engine="ray", code=code.number, **values)
        return self.client.trigger_schedule(name)

    def work_until(self, condition: Callable[[], object]) -> None:
        def worked() -> object:
            look_after()
            return condition()

        work_until(worked, SECONDS)

    def pids(self, execution: ScheduleExecution) -> list[int]:
        """What the program said of its processes, once it did."""
        self.work_until(lambda: "pids" in self.log(execution))
        return [int(word) for word in self.log(execution).split()[1:]]

    def log(self, execution: ScheduleExecution) -> str:
        return self.client.read_execution_log(execution.id).text

    def ended(self, execution: ScheduleExecution) -> ScheduleExecution:
        def now() -> ScheduleExecution:
            return self.client.get_schedule_execution(execution.id)

        self.work_until(lambda: now().state not in ("Queued", "Running"))
        return now()

    def attempts(self, name: str) -> list[ScheduleExecution]:
        """A schedule's executions, the oldest first."""
        return list(self.client.list_schedule_executions(name))[::-1]


@pytest.fixture
def trainings(
    ray_cluster: RayCluster, live_server: Any, settings: Any, tmp_path: Path
) -> Iterator[Trainings]:
    settings.PUBLIC_URL = live_server.url
    person = make_person(make_project("alpha"), username="ann")
    made = Trainings(
        MLOpsClient(api_token=person.token, api_endpoint=live_server.url, project="alpha"), tmp_path
    )
    yield made
    made.work_until(lambda: not running_jobs(ray_cluster))


def running_jobs(cluster: RayCluster) -> list[bytes]:
    """Runners and supervisors of trainings that live on the nodes."""
    commands = [Path(f"/proc/{pid}/cmdline") for pid in cluster.processes()]
    return [found for path in commands if path.exists() and b"runner.py" in (found := path.read_bytes())]


def none_lives(pids: Sequence[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_what_is_trained_is_logged_and_registered(trainings: Trainings, settings: Any) -> None:
    execution = trainings.begin(
        "nightly", LEARNS, configuration={"epochs": 3}, model_name="sommelier", artifact_path="predictor.py"
    )
    here, settings.RAY_ADDRESS = settings.RAY_ADDRESS, f"http://127.0.0.1:{free_ports(1)[0]}"
    trainings.work_until(lambda: trainings.attempts("nightly")[0].state == "Running")
    settings.RAY_ADDRESS = here  # which it could not be asked at, and nothing was lost by that
    found = trainings.ended(execution)
    assert (found.state, found.reason, found.exit_code) == ("Succeeded", "", 0)
    assert (found.engine, found.attempt) == ("ray", 1) and found.duration and found.peak_memory
    assert trainings.log(found) == "trained 3 epochs\n"
    assert found.run_id is not None
    run = trainings.client.get_run(found.run_id)
    assert (run.status, run.metrics["accuracy"]) == ("Completed", 0.9)
    trainings.work_until(lambda: trainings.attempts("nightly")[0].version == "sommelier/1")


def test_one_that_is_stopped_is_killed_with_all_that_it_started(trainings: Trainings) -> None:
    execution = trainings.begin("nightly", FOREVER, max_attempts=3)
    pids = trainings.pids(execution)
    trainings.client.stop_schedule_execution(execution.id)
    found = trainings.ended(execution)
    assert (found.state, found.reason, found.end_reason) == ("Killed", "ann stopped it.", "killed")
    assert len(pids) == 2 and until(lambda: none_lives(pids), 10)
    assert trainings.log(found).startswith("pids")
    assert found.run_id is not None and trainings.client.get_run(found.run_id).status == "Killed"
    assert len(trainings.attempts("nightly")) == 1


def test_one_that_fails_says_why_and_is_tried_again_as_its_schedule_says(trainings: Trainings) -> None:
    fails = "import sys\nprint('no data', flush=True)\nsys.exit(3)"
    hungry = f"{FOREVER.partition('time.sleep')[0]}x = bytearray(400 << 20)\ntime.sleep(600)"
    failed = trainings.begin("failing", fails, max_attempts=2)
    late = trainings.begin("late", FOREVER, timeout=3)
    hungry_one = trainings.begin("hungry", hungry, memory_limit=200)
    for execution, end_reason, reason in (
        (failed, "failed", "It ended with exit code 3."),
        (late, "over time", "It ran longer than the schedule allows."),
        (hungry_one, "out of memory", "It used more memory than the schedule allows."),
    ):
        found = trainings.ended(execution)
        assert (found.state, found.end_reason, found.reason) == ("Failed", end_reason, reason)
        assert found.run_id is not None and trainings.client.get_run(found.run_id).status == "Failed"
    for execution in (late, hungry_one):
        assert none_lives(trainings.pids(execution))
    assert trainings.log(failed) == "no data\n"
    first, second = trainings.attempts("failing")
    assert trainings.ended(second).state == "Failed"
    assert (first.trigger, second.trigger, second.attempt) == ("manual", "retry", 2)
    assert len(trainings.attempts("failing")) == 2 and len(trainings.attempts("late")) == 1


@pytest.mark.parametrize("lost", ["worker", pytest.param("head", marks=SOAKED)])
def test_one_whose_node_is_killed_is_lost_and_begins_again(
    trainings: Trainings, ray_cluster: RayCluster, lost: str
) -> None:
    for turn in ROUNDS:
        name, mark = f"nightly-{turn}", str(trainings.folder / f"begun-{turn}")
        with the_head_filled(ray_cluster, name, lost == "worker"):
            execution = trainings.begin(name, LUCKY, max_attempts=2, configuration={"mark": mark})
            pids = trainings.pids(execution)
        ray_cluster.kill("" if lost == "head" else f"worker{ray_cluster.workers}")
        assert until(lambda pids=pids: none_lives(pids), 10)
        if lost == "head":
            ray_cluster.heal()
        found = trainings.ended(execution)
        assert (found.state, found.end_reason, found.reason) == ("Failed", "lost", LOST[lost])
        assert found.run_id is not None and trainings.client.get_run(found.run_id).status == "Failed"
        _, again = trainings.attempts(name)
        done = trainings.ended(again)
        assert (done.state, done.attempt, done.trigger) == ("Succeeded", 2, "retry"), done
        assert len(trainings.attempts(name)) == 2
        ray_cluster.heal()


@contextmanager
def the_head_filled(cluster: RayCluster, name: str, wanted: bool) -> Iterator[None]:
    """Where wanted, nothing else has place on the head meanwhile."""
    job = {
        "submission_id": f"filling-{name}",
        "entrypoint": "echo fills; exec sleep 600",
        "entrypoint_num_cpus": 4,
        "entrypoint_resources": {"node:__internal_head__": 0.001},
    }
    if wanted:
        cluster.dashboard.submit_job(job)
        until(lambda: b"fills" in cluster.dashboard.job_log(f"filling-{name}"), 60)
    yield
    cluster.dashboard.stop_job(f"filling-{name}")
