"""Alerts as the SDK asks for them; what they do is tested with the server."""

from __future__ import annotations

import math

import pytest

from podstack import ConflictError, MLOpsClient, ValidationError
from tests.sdk.fake_server import Answer, FakeServer, problem

WAITING = {"id": "alert-1", "condition": "loss > 2", "metric": "loss", "message": "m", "fired_at": None}
FIRED = {**WAITING, "fired_at": "2026-01-01T00:00:00Z", "fired_value": "NaN", "fired_step": 7}


def test_an_alert_is_made_and_listed(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST .*/alerts$", Answer(201, WAITING))
    server.fail("GET .*/alerts$", Answer(200, {"results": [FIRED], "next": None}), times=2)
    with client.start_run("exp") as run:
        made = run.create_alert("loss > 2", message="m")
        listed = run.list_alerts()
    assert (made.id, made.condition, made.fired_at, made.fired_value) == ("alert-1", "loss > 2", None, None)
    assert server.requests("POST .*/alerts$")[0].json == {"condition": "loss > 2", "message": "m"}
    assert listed[0].fired_at is not None
    assert (listed[0].fired_step, math.isnan(listed[0].fired_value or 0)) == (7, True)
    assert [alert.id for alert in client.list_run_alerts(run.id)] == ["alert-1"]


def test_a_wrong_condition_is_told(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST .*/alerts$", problem(400, "condition is 'loss'; …", code="condition_wrong"))
    with client.start_run("exp") as run, pytest.raises(ValidationError, match="condition is 'loss'"):
        run.create_alert("loss")


def test_an_ended_run_is_not_watched(client: MLOpsClient) -> None:
    with client.start_run("exp") as run:
        pass
    with pytest.raises(ConflictError, match="has ended as Completed"):
        run.create_alert("loss > 2")


def test_an_alert_is_deleted(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("DELETE .*/alerts/alert-1$", Answer(204, b""))
    client.delete_run_alert("run-1", "alert-1")
    assert len(server.requests("DELETE .*/runs/run-1/alerts/alert-1$")) == 1


def test_a_deleted_run_is_restored(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST .*/runs/run-1/restore$", Answer(200, {"id": "run-1", "deleted_at": None}))
    assert client.restore_run("run-1").deleted_at is None
    server.fail("GET .*/runs$", Answer(200, {"results": [], "next": None}))
    assert list(client.list_runs(deleted=True)) == []
    assert server.seen[-1].query == {"deleted": ["true"]}
