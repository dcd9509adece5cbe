"""A run that somebody kills while it is being recorded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from podstack import ActiveRun, ConflictError, MLOpsClient, PodstackWarning
from tests.sdk.fake_server import FakeServer

WHY = r"has ended as Killed \(Killed by ann: too dear\); nothing can be logged to it any more"


def test_the_next_values_tell_that_the_run_was_killed(client: MLOpsClient, server: FakeServer) -> None:
    run = client.start_run("exp")
    run.log_metric("loss", 1)
    run.flush()
    server.kill(run.id, "too dear")
    run.log_metrics({"loss": 2, "f1": 3, "lr": 4})
    with pytest.warns(PodstackWarning, match=WHY), pytest.raises(ConflictError, match=WHY) as caught:
        run.flush()
    assert caught.value.code == "run_ended"
    assert run.status == "Killed"
    with pytest.raises(ConflictError, match=WHY):
        run.log_metric("loss", 3)
    asked = len(server.seen)
    run.end()
    assert (len(server.seen), run.status) == (asked, "Killed")
    # One refusal for the whole batch, not one for each of its series.
    assert len(server.requests("/metrics")) == 2
    assert server.points == {"loss": [(0, 1.0)]}


def test_a_block_whose_run_was_killed_ends_without_an_error(client: MLOpsClient, server: FakeServer) -> None:
    with pytest.warns(PodstackWarning, match=WHY), client.start_run("exp") as run:
        server.kill(run.id, "too dear")
    assert run.status == "Killed"
    assert server.runs[run.id]["error"] == "Killed by ann: too dear"


def test_a_block_with_values_left_ends_without_an_error_too(client: MLOpsClient, server: FakeServer) -> None:
    with pytest.warns(PodstackWarning, match=WHY), client.start_run("exp") as run:
        server.kill(run.id, "too dear")
        run.log_param("lr", 1)
        run.log_metric("loss", 1)
    assert (run.status, server.points) == ("Killed", {})


def test_the_training_ends_with_the_reason(client: MLOpsClient, server: FakeServer) -> None:
    with (
        pytest.warns(PodstackWarning, match=WHY),
        pytest.raises(ConflictError, match=WHY),
        client.start_run("exp") as run,
    ):
        server.kill(run.id, "too dear")
        for step in range(1_000_000_000):
            run.log_metric("loss", step)
    assert run.status == "Killed"


@pytest.mark.parametrize(
    "log",
    [
        lambda run, path: run.log_artifact(path),
        lambda run, path: run.log_param("lr", 1),
        lambda run, path: run.log_metric("loss", 1),
        lambda run, path: run.log_dataset("data"),
    ],
    ids=["artifact", "param", "metric", "dataset"],
)
def test_files_tell_at_once_and_nothing_more_is_tried(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, log: Callable[[ActiveRun, Path], object]
) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"1")
    run = client.start_run("exp")
    server.kill(run.id, "too dear")
    with pytest.raises(ConflictError, match=WHY):
        run.log_artifact(file)
    asked = len(server.seen)
    with pytest.raises(ConflictError, match=WHY):
        log(run, file)
    run.end()
    assert len(server.seen) == asked


def test_a_run_that_nobody_killed_warns_of_nothing(client: MLOpsClient, server: FakeServer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with client.start_run("exp") as run:
            run.log_metric("loss", 1)
    assert run.status == "Completed"
