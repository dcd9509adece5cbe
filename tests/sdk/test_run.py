"""Recording a run: in the background, without losing or hiding anything."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from podstack import ConflictError, ConnectionFailed, MLOpsClient, PodstackWarning, ValidationError
from podstack import outbox as outbox_module
from podstack import run as run_module
from tests.sdk.fake_server import DROPPED, PROJECT, TOKEN, FakeServer, P, problem


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "PAUSE_WHILE_AWAY", 0.05)
    monkeypatch.setattr(outbox_module, "PATIENCE_PER_TRY", 0.2)


def test_a_block_ends_completed_with_everything_stored(client: MLOpsClient, server: FakeServer) -> None:
    with client.start_run(experiment_id="sentiment-exp") as run:
        assert run.status == "Running"
        run.log_params({"lr": 0.001, "epochs": 10, "layers": [64, 32], "path": Path("a/b"), "none": None})
        for step in range(5):
            run.log_metrics({"loss": 1 / (step + 1), "f1": step}, step=step)
        run.log_metric("loss", math.nan)
        run.log_metric("loss", -math.inf)
        run.log_metric("late", 1)
    stored = server.runs[run.id]
    assert (run.status, stored["status"]) == ("Completed", "Completed")
    expected = {"lr": 0.001, "epochs": 10, "layers": "[64, 32]", "path": "a/b", "none": None}
    assert stored["params"] == expected
    assert [step for step, _ in server.points["loss"]] == [0, 1, 2, 3, 4, 5, 6]
    assert [value for _, value in server.points["loss"]][-2:] == ["NaN", "-Infinity"]
    assert server.points["late"] == [(0, 1.0)]
    assert len(server.requests("/metrics")) <= 2


def test_a_block_that_raises_ends_failed(client: MLOpsClient, server: FakeServer) -> None:
    with pytest.raises(ZeroDivisionError), client.start_run("exp") as run:
        run.log_metric("loss", 1)
        _ = 1 / 0
    assert run.status == "Failed"
    assert server.runs[run.id]["error"] == "ZeroDivisionError: division by zero"
    assert server.points["loss"] == [(0, 1.0)]


@pytest.mark.parametrize(
    "error, status",
    [(KeyboardInterrupt(), "Killed"), (SystemExit(0), "Completed"), (SystemExit(3), "Failed")],
    ids=repr,
)
def test_a_block_that_is_left_ends_accordingly(
    client: MLOpsClient, server: FakeServer, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), client.start_run("exp") as run:
        raise error
    assert server.runs[run.id]["status"] == status


def test_nothing_is_lost_while_the_server_is_away(client: MLOpsClient, server: FakeServer) -> None:
    with client.start_run("exp") as run:
        run.log_metric("loss", 0)
        run.flush()
        server.stop()
        before = time.monotonic()
        for step in range(1, 25_001):
            run.log_metric("loss", step, step=step)
        took = time.monotonic() - before
        time.sleep(0.6)
        server.start()
    assert took < 1.5
    assert server.points["loss"] == [(step, float(step)) for step in range(25_001)]
    assert run.status == "Completed"


def test_a_batch_whose_answer_was_lost_is_stored_once(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST .*/metrics", DROPPED, times=6, after_doing=True)
    with client.start_run("exp") as run:
        run.log_metric("loss", 1)
    assert server.points["loss"] == [(0, 1.0)]
    assert len({request.key for request in server.requests("/metrics")}) == 1
    assert len(server.requests("/metrics")) == 7


def test_a_server_error_is_tried_again(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST .*/metrics", problem(500, "Something broke."), times=2)
    with client.start_run("exp") as run:
        run.log_metric("loss", 1)
    assert server.points["loss"] == [(0, 1.0)]


def test_values_that_cannot_be_delivered_are_told(
    client: MLOpsClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "SHORT_PATIENCE", 0.2)
    run = client.start_run("exp")
    server.stop()
    run.log_metric("loss", 1)
    with pytest.raises(ConnectionFailed, match="1 logged values could not be delivered"):
        run.flush(timeout=0.3)
    with pytest.warns(PodstackWarning, match="could not be ended"), pytest.raises(KeyboardInterrupt), run:
        raise KeyboardInterrupt
    server.start()


def test_a_refused_value_is_told_and_takes_no_good_ones_along(
    client: MLOpsClient, server: FakeServer
) -> None:
    with (
        pytest.warns(PodstackWarning, match="bad is no key"),
        pytest.raises(ValidationError, match="bad is no key"),
        client.start_run("exp") as run,
    ):
        run.log_params({"good": 1, "bad": 2, "fine": 3})
        run.log_metrics({"good": 1, "bad": 2})
    assert server.runs[run.id]["params"] == {"good": 1, "fine": 3}
    assert server.points == {"good": [(0, 1.0)]}
    assert server.runs[run.id]["status"] == "Failed"
    assert "bad is no key" in server.runs[run.id]["error"]


def test_the_blocks_own_error_is_the_one_that_is_seen(client: MLOpsClient, server: FakeServer) -> None:
    with pytest.warns(PodstackWarning), pytest.raises(ZeroDivisionError), client.start_run("exp") as run:
        run.log_metric("bad", 1)
        _ = 1 / 0
    assert server.runs[run.id]["error"] == "ZeroDivisionError: division by zero"


def test_another_value_for_a_parameter_is_refused_at_once(client: MLOpsClient) -> None:
    with client.start_run("exp") as run:
        run.log_param("lr", 1)
        run.log_param("lr", 1)
        with pytest.raises(ConflictError, match="lr is 1 and cannot become 2"):
            run.log_params({"other": 1, "lr": 2})


@pytest.mark.parametrize("value", ["high", None, object(), [1, 2]])
def test_a_metric_that_is_no_number_is_refused_at_once(client: MLOpsClient, value: object) -> None:
    with client.start_run("exp") as run, pytest.raises(ValidationError, match="must be a number"):
        run.log_metric("loss", value)


def test_an_ended_run_takes_nothing(client: MLOpsClient) -> None:
    with client.start_run("exp") as run:
        pass
    with pytest.raises(ConflictError, match=f'start_run\\(run_id="{run.id}"\\)'):
        run.log_metric("loss", 1)
    run.end()


def test_a_full_queue_waits_for_room(client: MLOpsClient, server: FakeServer) -> None:
    with client.start_run("exp") as run:
        run._outbox = outbox_module.Outbox(client.http, f"/projects/{PROJECT}/runs/{run.id}", limit=10)
        for step in range(200):
            run.log_metric("loss", step, step=step)
    assert len(server.points["loss"]) == 200


def test_the_thread_ends_when_there_is_nothing_to_send(
    client: MLOpsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "INTERVAL", 0.05)
    with client.start_run("exp") as run:
        run.log_metric("loss", 1)
        time.sleep(0.3)
        assert run._outbox._thread is None
        run.log_metric("loss", 2)
        assert run._outbox._thread is not None


def test_tags_are_kept_beside_new_ones(client: MLOpsClient, server: FakeServer) -> None:
    with client.start_run("exp") as run:
        run.set_tag("team", "ml")
        run.set_tags({"stage": 2})
    assert server.runs[run.id]["tags"] == {"team": "ml", "stage": "2"}


def test_a_run_is_continued(client: MLOpsClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.runs["run-old001"] = {
        "id": "run-old001",
        "experiment_id": "exp-old",
        "params": {"lr": 1},
        "metric_summary": {"loss": {"last": 0.5, "last_step": 7, "count": 8}},
    }
    monkeypatch.setenv("PODSTACK_RUN_ID", "run-old001")
    with client.start_run("another-name") as run:
        run.log_metric("loss", 0.4)
        with pytest.raises(ConflictError):
            run.log_param("lr", 2)
    assert (run.id, run.experiment_id) == ("run-old001", "exp-old")
    assert server.points["loss"] == [(8, 0.4)]
    with client.start_run("exp") as fresh:
        assert fresh.id != "run-old001"


def test_an_id_can_be_chosen(client: MLOpsClient) -> None:
    with client.start_run("exp", run_id="run-chosen1") as run:
        assert run.id == "run-chosen1"
    with pytest.raises(ValidationError, match=r"no run run-unknown1.*experiment_id"):
        client.start_run(run_id="run-unknown1")
    with pytest.raises(ValidationError, match="needs an experiment"):
        client.start_run()


def test_a_dataset_has_its_digest(client: MLOpsClient, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(b"")
    with client.start_run("exp") as run:
        local = run.log_dataset("reviews", path=file, description="v2", context="training")
        remote = run.log_dataset("reviews", path="s3://bucket/reviews")
    assert local.digest == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (local.path, local.context, remote.digest) == (str(file), "training", "")
    assert remote.path == "s3://bucket/reviews"


SCRIPT = """
import os, sys
from podstack import MLOpsClient
run = MLOpsClient().start_run("exp", run_id="run-script1")
for step in range(1000):
    run.log_metric("loss", step, step=step)
if os.fork() == 0:
    run.log_metric("child", 1)
    sys.exit(0)
os.wait()
{ending}
"""


@pytest.mark.parametrize(
    "ending, status", [("", "Completed"), ("1 / 0", "Failed"), ("raise KeyboardInterrupt", "Killed")]
)
def test_a_process_that_exits_delivers_first(server: FakeServer, ending: str, status: str) -> None:
    environment = {
        **os.environ,
        "PODSTACK_API_TOKEN": TOKEN,
        "PODSTACK_API_ENDPOINT": server.url,
        "PODSTACK_PROJECT": PROJECT,
    }
    subprocess.run(
        [sys.executable, "-c", SCRIPT.format(ending=ending)], env=environment, capture_output=True, timeout=20
    )
    assert server.runs["run-script1"]["status"] == status
    assert len(server.points["loss"]) == 1000
    assert len(server.requests(f"POST {P}/runs/run-script1/end")) == 1
