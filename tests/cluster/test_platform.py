"""The platform on a real cluster: deployed by REST, reconciled by jobs, asked through the gateway."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from deployments.engines.ray import RayEngine
from deployments.tasks import look_after_endpoints
from tests.deployments.conftest import (
    GatewayProcess,
    a_quick_version,
    ask,
    deploy,
    endpoint,
    events,
    gateway,
    gateway_process,
    state,
    tasks,
    work_until,
    work_until_idle,
)
from tests.factories import Person, make_person, make_project
from tests.ray_cluster import RayCluster
from tests.waiting import until

__all__ = ["gateway", "gateway_process", "tasks"]
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
ROUNDS = range(int(os.environ.get("SOAK_FAULT_ROUNDS", "1")))
SECONDS = 120


@pytest.fixture
def ann(
    gateway: GatewayProcess, engine: RayEngine, live_server: Any, settings: Any, tmp_path: Path
) -> Person:
    """An admin of a project; endpoints run on the cluster, whose nodes fetch models, unless they say otherwise."""
    settings.SERVING_ENGINE, settings.SERVING_MODELS_DIR = "ray", tmp_path / "models"
    settings.RAY_MODEL_FILES, settings.PUBLIC_URL = "download", live_server.url
    settings.GPU_TYPES, settings.NO_GPU = ("T4", "A10", "A100", "H100"), "wait"
    return make_person(make_project(), username="ann")


def works_until(condition: Callable[[], object]) -> None:
    """As the clock and a worker do, until `condition` holds."""

    def worked() -> object:
        look_after_endpoints()
        return condition()

    work_until(worked, SECONDS)


def answers(person: Person, value: int) -> bool:
    answer = ask(person, rows=[[1]])
    return answer.status_code == 200 and answer.json()["predictions"] == [value]


def test_an_endpoint_is_deployed_changed_rolled_back_and_taken_down(ann: Person, engine: RayEngine) -> None:
    first = a_quick_version(ann)
    second = a_quick_version(ann, predict="return [8 for row in rows]")
    assert deploy(ann, first).status_code == 201
    works_until(lambda: state(ann) == "Active")
    assert answers(ann, 7)
    assert not settings.SERVING_MODELS_DIR.exists(), "its nodes fetch the files themselves"

    address = f"{ann.base}/deployments/iris-api"
    assert ann.api.patch(address, {"version": second.number}, format="json").status_code == 200
    seen = set()

    def changed() -> bool:
        answer = ask(ann, rows=[[1]])
        seen.add((answer.status_code, *answer.json().get("predictions", [])))
        return (200, 8) in seen and state(ann) == "Active"

    works_until(changed)
    assert seen <= {(200, 7), (200, 8)}  # each answer came from the old or the new version
    assert ann.api.post(f"{address}/rollback", {}, format="json").status_code in (200, 202)
    works_until(lambda: answers(ann, 7) and state(ann) == "Active")

    assert ann.api.post(f"{address}/undeploy", {}, format="json").status_code in (200, 202)
    works_until(lambda: state(ann) == "Inactive")
    work_until_idle(SECONDS)
    until(lambda: engine.services() == [], SECONDS)
    assert ask(ann, rows=[[1]]).status_code == 503


def test_an_endpoint_waits_for_a_gpu_that_no_node_has_and_names_what_there_is(ann: Person) -> None:
    version = a_quick_version(ann)
    assert deploy(ann, version, gpu_type="A100").status_code == 201
    work_until(lambda: "A100" in endpoint(ann)["reason"], SECONDS)
    found = endpoint(ann)
    sentence = "No A100 is there, only T4: the endpoint waits until there is one."
    assert (found["state"], found["reason"]) == ("Pending", sentence)
    assert ann.api.post(f"{ann.base}/deployments/iris-api/undeploy", {}, format="json").status_code == 200
    works_until(lambda: state(ann) == "Inactive")


@pytest.mark.skipif("SOAK_CLUSTER" not in os.environ, reason="played by `make soak`")
def test_an_endpoint_waits_for_a_gpu_that_another_has_and_takes_it_when_it_is_free(ann: Person) -> None:
    version = a_quick_version(ann)
    both = {"min_replicas": 2, "max_replicas": 2}  # of its one node
    assert deploy(ann, version, gpu_type="T4", **both).status_code == 201
    works_until(lambda: state(ann) == "Active" and endpoint(ann)["ready_replicas"] == 2)
    assert deploy(ann, version, "second", gpu_type="T4").status_code == 201
    told = "No node of the cluster has a CPU and a T4 free: the endpoint waits until one has."
    works_until(lambda: (state(ann, "second"), endpoint(ann, "second")["reason"]) == ("Pending", told))
    assert ann.api.post(f"{ann.base}/deployments/iris-api/undeploy", {}, format="json").status_code == 200
    works_until(lambda: (state(ann), state(ann, "second")) == ("Inactive", "Active"))


@pytest.mark.skipif("SOAK_CLUSTER" not in os.environ, reason="played by `make soak`")
def test_an_endpoint_that_has_all_gpus_changes_its_version_by_replacing_it(ann: Person) -> None:
    both = {"gpu_type": "T4", "min_replicas": 2, "max_replicas": 2, "rollout": {"replace": True}}
    assert deploy(ann, a_quick_version(ann), **both).status_code == 201
    works_until(lambda: state(ann) == "Active" and endpoint(ann)["ready_replicas"] == 2)
    second = a_quick_version(ann, predict="return [8 for row in rows]")
    assert deploy(ann, second, **both).status_code == 200
    works_until(lambda: "Version 1 gives way to version 2: it ends first." in events(ann))
    works_until(lambda: state(ann) == "Active" and endpoint(ann)["ready_replicas"] == 2)
    assert answers(ann, 8)


@pytest.mark.skipif("SOAK_CLUSTER" not in os.environ, reason="played by `make soak`")
@pytest.mark.parametrize("turn", ROUNDS)
@pytest.mark.parametrize("lost", ["worker", "head"])
def test_an_endpoint_heals_by_itself_when_a_node_is_killed(
    ann: Person, engine: RayEngine, ray_cluster: RayCluster, lost: str, turn: int
) -> None:
    assert deploy(ann, a_quick_version(ann), gpu_type="T4" if lost == "worker" else "").status_code == 201
    works_until(lambda: state(ann) == "Active")
    assert answers(ann, 7)
    if lost == "worker":
        ray_cluster.kill_worker()
        told = "No T4 is there: the endpoint waits until there is one."
    else:
        ray_cluster.kill()
        told = "The cluster does not answer"
    works_until(lambda: told in endpoint(ann)["reason"])
    assert ask(ann, rows=[[1]]).status_code in (502, 503)
    ray_cluster.heal()
    works_until(lambda: answers(ann, 7) and state(ann) == "Active")
    assert endpoint(ann)["reason"] == "" and events(ann)[-1] == "Version 1 answers again."
