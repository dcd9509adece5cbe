"""Versions and endpoints that take a while, or do not work: what the caller hears of it."""

from __future__ import annotations

import json
import threading
import warnings

import pytest

from podstack import ConnectionFailed, DeploymentFailed, MLOpsClient, PodstackWarning, ServerError
from podstack.models import Answer as ClientAnswer
from podstack.models import ModelVersion
from tests.sdk.fake_server import Answer, FakeServer, problem

VERSION = {"model_name": "m", "version": 1, "status": "Pending", "metrics": {"loss": "NaN", "f1": 0.5}}


def create(client: MLOpsClient, **more: object) -> ModelVersion:
    return client.create_model_version("m", "run-abc123", "model.pt", **more)  # type: ignore[arg-type]


def test_a_version_is_returned_when_it_has_been_looked_at(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST", Answer(201, VERSION))
    server.fail("GET", Answer(200, VERSION), times=2)
    server.fail("GET", Answer(200, {**VERSION, "status": "Ready"}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        version = create(client)
    assert (version.status, version.version, len(server.seen)) == ("Ready", 1, 4)
    assert version.metrics["f1"] == 0.5 and version.metrics["loss"] != version.metrics["loss"]


def test_a_quarantined_version_is_returned_with_a_warning(client: MLOpsClient, server: FakeServer) -> None:
    server.fail(
        "POST", Answer(201, {**VERSION, "status": "Quarantined", "status_reason": "It calls os.system."})
    )
    with pytest.warns(PodstackWarning, match="m version 1 is quarantined: It calls os.system.") as caught:
        assert create(client).status == "Quarantined"
    assert caught[0].filename == __file__


def test_waiting_for_a_version_can_be_left_out_and_ends(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST", Answer(201, VERSION), times=2)
    assert create(client, wait=False).status == "Pending"
    assert len(server.seen) == 1
    server.fail("GET", Answer(200, VERSION), times=9)
    with pytest.warns(PodstackWarning, match="still being looked at"):
        assert create(client, timeout=0.2).status == "Pending"


def test_a_deployment_is_waited_for(client: MLOpsClient, server: FakeServer) -> None:
    server.deployment |= {"state": "Deploying", "endpoint_url": f"{server.url}/serve/vision/api"}
    deployment = client.deploy_model("m", 3, "api", gpu_type="T4", min_replicas=1, max_replicas=3)
    assert (deployment.state, deployment.endpoint_url) == ("Deploying", f"{server.url}/serve/vision/api")
    threading.Timer(0.3, lambda: server.deployment.update(state="Active")).start()
    assert deployment.wait(timeout=5).state == "Active"
    assert deployment.refresh().state == "Active"
    assert json.loads(server.requests("POST")[0].body) == {
        "model_name": "m",
        "version": 3,
        "endpoint_name": "api",
        "gpu_type": "T4",
        "min_replicas": 1,
        "max_replicas": 3,
        "description": "",
    }


def test_a_deployment_that_cannot_work_warns_and_raises(client: MLOpsClient, server: FakeServer) -> None:
    reason = "model.pt is a bare state_dict; add a predictor.py beside it."
    server.deployment |= {
        "state": "Failed",
        "reason": reason,
        "warnings": ["There is no T4; it runs on the CPU."],
    }
    with pytest.warns(PodstackWarning) as caught:
        deployment = client.deploy_model("m", "best", "api")
    texts = [str(warning.message) for warning in caught]
    assert texts == ["There is no T4; it runs on the CPU.", f"api cannot run version 0: {reason}"]
    assert {warning.filename for warning in caught} == {__file__}
    with pytest.raises(DeploymentFailed, match="bare state_dict"):
        deployment.wait()


def test_waiting_for_a_deployment_ends(client: MLOpsClient, server: FakeServer) -> None:
    server.deployment |= {"state": "Pending", "reason": "No T4 is free."}
    with pytest.raises(DeploymentFailed, match=r"api is still Pending after 0.2 s. No T4 is free.") as caught:
        client.get_deployment("api").wait(timeout=0.2)
    assert caught.value.code == "deployment_timeout"
    server.deployment |= {"state": "Inactive", "reason": ""}
    with pytest.raises(DeploymentFailed, match="api is Inactive"):
        client.get_deployment("api").wait()


def test_a_change_is_waited_for_while_what_serves_is_degraded_and_given_up_when_it_has_failed(
    client: MLOpsClient, server: FakeServer
) -> None:
    server.deployment |= {"state": "Degraded", "reason": "The cluster does not answer.", "revision": 2}
    server.deployment |= {"version": 2, "serving_version": 1}
    old = {"revision": 1, "version": 1, "state": "Active"}

    def changes(state: str, times: int) -> None:
        new = {"revision": 2, "version": 2, "state": state, "reason": "It exits with 1."}
        server.fail("GET .*/revisions", Answer(body={"results": [new, old], "next": None}), times)

    changes("Starting", 99)
    threading.Timer(0.3, lambda: server.deployment.update(state="Active", serving_version=2)).start()
    assert client.get_deployment("api").wait(timeout=5).serving_version == 2
    server.faults.clear()
    # Of one version too: a change of settings is a revision of its own.
    server.deployment |= {
        "state": "Degraded",
        "reason": "The new revision could not take over: It exits with 1.",
    }
    changes("Failed", 1)
    with pytest.raises(DeploymentFailed, match="could not take over: It exits with 1"):
        client.get_deployment("api").wait(timeout=5)


def test_predictions_are_asked_for_where_the_registry_says(client: MLOpsClient, server: FakeServer) -> None:
    server.deployment |= {"endpoint_url": f"{server.url}/serve/vision/api"}
    deployment = client.get_deployment("api")
    assert deployment.predict([[1, 2.5], (3, float("inf"))]) == [[1, 2.5], [3, "Infinity"]]
    assert client.predict("api", [{"age": 3}]) == [{"age": 3}]
    assert len(server.requests("GET")) == 2  # its address is looked up once
    client.http.endpoint = "https://registry.example"
    with pytest.raises(ConnectionFailed, match="is not encrypted"):
        client.predict("api", [{"age": 3}])


def test_a_gateway_that_does_not_answer_is_named(client: MLOpsClient, server: FakeServer) -> None:
    server.deployment |= {"endpoint_url": "http://127.0.0.1:9/serve/vision/api"}
    with pytest.raises(ConnectionFailed, match=r"No answer from 127.0.0.1:9 \(Con.*GATEWAY_URL"):
        client.predict("api", [{"age": 3}])


def test_arrays_and_tables_are_rows(client: MLOpsClient) -> None:
    numpy = pytest.importorskip("numpy")
    rows = numpy.array([[1.5, 2.0]], dtype="float32")
    assert client.predict("api", rows) == [[1.5, 2.0]]
    assert client.predict("api", [{"n": numpy.int64(3), "x": numpy.float32(0.5)}]) == [{"n": 3, "x": 0.5}]


def test_an_endpoint_that_is_not_live_says_why_at_once(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST", problem(503, "api is Failed: it needs a predictor.py."), times=9)
    with pytest.raises(ServerError, match=r"needs a predictor\.py"):
        client.predict("api", [[1]])
    assert len(server.requests("POST")) == 1


def test_answers_are_frozen_and_know_what_they_do_not_know() -> None:
    answer = ModelVersion.from_json({**VERSION, "drift": 0.1, "created_at": "2026-11-23T10:00:00Z"})
    assert answer.drift == 0.1
    assert answer.created_at is not None and answer.created_at.isoformat() == "2026-11-23T10:00:00+00:00"
    assert answer.tags == {} and answer.status_reason == ""
    with pytest.raises(AttributeError, match="ModelVersion has no attribute 'colour'"):
        _ = answer.colour
    with pytest.raises(AttributeError):
        answer.version = 2  # type: ignore[misc]
    assert ClientAnswer.from_json({}).extra == {}
