"""A run that several processes log to: who joined ends nothing."""

from __future__ import annotations

import pickle

import pytest

from podstack import ConflictError, MLOpsClient, ValidationError
from tests.sdk.fake_server import FakeServer


def test_who_joined_delivers_and_leaves_the_run_running(client: MLOpsClient, server: FakeServer) -> None:
    with client.start_run("ddp") as run:
        with client.start_run(run_id=run.id, join=True) as rank:
            rank.log_metric("rank1/loss", 0.5, step=3)
        with pytest.raises(ZeroDivisionError), client.start_run(run_id=run.id, join=True):
            _ = 1 / 0
        assert server.points["rank1/loss"] == [(3, 0.5)]
        assert server.runs[run.id]["status"] == "Running"
        with pytest.raises(ConflictError, match=r"This process has left run-.*join=True"):
            rank.log_metric("rank1/loss", 0.4)
        run.log_metric("loss", 0.5)
    assert server.runs[run.id]["status"] == "Completed"
    assert len(server.requests("POST .*/end$")) == 1


def test_a_tag_of_one_process_leaves_those_of_the_others(client: MLOpsClient, server: FakeServer) -> None:
    with client.start_run("ddp") as run:
        run.set_tag("phase", "warm-up")
        with client.start_run(run_id=run.id, join=True) as rank:
            run.set_tag("phase", "training")
            rank.set_tag("rank1", "ready")
            assert rank.data.tags == {"phase": "training", "rank1": "ready"}
    assert server.runs[run.id]["tags"] == {"phase": "training", "rank1": "ready"}


def test_only_a_running_run_is_joined(client: MLOpsClient) -> None:
    with client.start_run("ddp") as run:
        pass
    with pytest.raises(ConflictError, match="is Completed; only a Running run is joined"):
        client.start_run(run_id=run.id, join=True)
    with pytest.raises(ValidationError, match="join=True needs a run_id"):
        client.start_run("ddp", join=True)


def test_neither_run_nor_client_is_pickled(client: MLOpsClient) -> None:
    with pytest.raises(TypeError, match="it holds the token: make one in each process"):
        pickle.dumps(client)
    with client.start_run("ddp") as run, pytest.raises(TypeError, match=f'run_id="{run.id}", join=True'):
        pickle.dumps(run)
    assert run.url in repr(run)
