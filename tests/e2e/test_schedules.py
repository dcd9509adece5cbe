"""Scheduled training over the whole platform: web, clock, workers, database, real training code."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from podstack import MLOpsClient
from tests.e2e.conftest import Platform
from tests.waiting import until

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "nightly_training"


@pytest.fixture
def client(platform: Platform) -> MLOpsClient:
    found = platform.client()
    if not any(experiment.name == "wine" for experiment in found.list_experiments()):
        found.create_experiment("wine")
    return found


def test_the_nightly_example_registers_a_version_and_promotes_it_only_when_it_is_better(
    client: MLOpsClient,
) -> None:
    code = client.upload_training_code("wine", EXAMPLE, ["python", "train.py"])
    assert (code.number, code.command) == (1, ("python", "train.py"))
    schedule = client.create_schedule(
        "nightly-wine",
        "wine",
        "0 2 * * *",
        timezone="Europe/Berlin",
        configuration={"trees": 30},
        model_name="wine",
        artifact_path="model",
        promote_metric="accuracy",
        promote_stage="Production",
    )
    assert (schedule.words, len(schedule.next_times)) == ("At 02:00 every day", 5)
    said: list[str] = []
    first = client.wait_for_execution(client.trigger_schedule("nightly-wine").id, 120, on_log=said.append)
    assert (first.state, first.reason) == ("Succeeded", "")
    assert "30 trees: accuracy" in "".join(said)
    assert first.run_id is not None
    run = client.get_run(first.run_id)
    assert (run.status, run.params["trees"]) == ("Completed", 30)
    first = settled(client, first.id)
    assert first.version == "wine/1"
    assert client.get_model_version("wine", 1).stage == "Production"
    again = client.wait_for_execution(client.trigger_schedule("nightly-wine", {"trees": 1}).id, 120)
    again = settled(client, again.id)
    assert again.version == "wine/2"
    assert "It was not promoted: accuracy is" in again.outcome
    assert client.get_model_version("wine", 2).stage == "None"


def settled(client: MLOpsClient, execution_id: str):  # type: ignore[no-untyped-def]
    """The execution once what follows has been decided too."""

    def decided():  # type: ignore[no-untyped-def]
        found = client.get_schedule_execution(execution_id)
        return found if "promoted" in found.outcome or "was asked for it" in found.outcome else None

    return until(decided, 180)


def test_a_schedule_starts_by_itself_and_a_killed_worker_loses_and_doubles_nothing(
    platform: Platform, client: MLOpsClient, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(
        "import time\nfrom podstack import MLOpsClient\n"
        "with MLOpsClient().start_run() as run:\n"
        "    for step in range(20):\n        run.log_metric('step', step, step=step)\n        time.sleep(0.25)\n"
    )
    client.create_experiment("slow")
    client.upload_training_code("slow", tmp_path, ["python", "train.py"])
    client.create_schedule("every-minute", "slow", "* * * * *", overlap="queue")
    until(lambda: list(client.list_schedule_executions("every-minute")), 180)
    client.pause_schedule("every-minute")  # before the next minute comes; what began goes on
    execution = started(client, "every-minute")
    for pid in platform.processes("celery", "worker"):
        os.kill(pid, signal.SIGKILL)
    ended = client.wait_for_execution(execution.id, 300)
    assert (ended.state, ended.trigger, ended.attempt) == ("Succeeded", "cron", 1)
    assert ended.run_id is not None
    assert client.get_metric_history(ended.run_id, "step").steps == tuple(range(20))
    assert len(list(client.list_schedule_executions("every-minute"))) == 1
    client.delete_schedule("every-minute")


def started(client: MLOpsClient, name: str):  # type: ignore[no-untyped-def]
    def running():  # type: ignore[no-untyped-def]
        found = client.list_schedule_executions(name)
        return [each for each in found if each.state == "Running" and each.run_id]

    return until(running, 180)[0]


def test_the_page_about_schedules_works_as_written(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = EXAMPLE.parent.parent / "docs" / "scheduling.md"
    for name, value in platform.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(page.parent.parent)
    names: dict[str, object] = {}
    for number, snippet in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)):
        exec(compile(snippet, f"scheduling.md snippet {number}", "exec"), names)
