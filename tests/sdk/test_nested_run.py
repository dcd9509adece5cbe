"""Runs that a run starts."""

from __future__ import annotations

from podstack import MLOpsClient
from tests.sdk.fake_server import Answer, FakeServer


def test_a_child_belongs_to_its_parent_and_ends_by_itself(client: MLOpsClient, server: FakeServer) -> None:
    with client.start_run("sweep") as run:
        for depth in (2, 4):
            with run.start_child(name=f"depth {depth}", tags={"depth": str(depth)}) as child:
                child.log_metric("loss", 1 / depth)
            assert (child.status, run.status) == ("Completed", "Running")
    first, second, third = (request.json for request in server.requests("POST .*/runs$"))
    assert "parent_run_id" not in first
    assert {second["parent_run_id"], third["parent_run_id"]} == {run.id}
    assert (second["experiment_id"], second["name"], second["tags"]) == ("sweep", "depth 2", {"depth": "2"})
    assert len(server.runs) == 3


def test_the_runs_of_a_parent_are_asked_for(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("GET .*/runs$", Answer(body={"results": [{"id": "run-child1"}], "next": None}))
    assert [run.id for run in client.list_runs(parent_run_id="run-parent")] == ["run-child1"]
    assert server.seen[-1].query == {"parent": ["run-parent"]}
