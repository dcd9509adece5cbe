"""Ray Serve as the platform's engine, on a real cluster of two nodes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cluster.models import WantedApplication
from common.errors import Invalid
from deployments.engines.base import EngineAway, EngineWaits, Service, ServiceSpec, ServiceState
from deployments.engines.ray import RayEngine
from tests.cluster.conftest import a_spec
from tests.ray_cluster import TOKEN, RayCluster
from tests.serving.test_environments import wheel
from tests.waiting import until

pytestmark = pytest.mark.slow


def ask(service: Service, rows: Any, key: str | None = None) -> urllib3.BaseHTTPResponse:
    return urllib3.request(
        "POST",
        f"{service.address}/predict",
        body=json.dumps({"instances": rows}).encode(),
        headers={"X-Serving-Key": service.key if key is None else key, "Content-Type": "application/json"},
        retries=False,
        timeout=30,
    )


def ready(engine: RayEngine, service_id: str) -> Service:
    """The service, once it answers."""
    found: list[Service] = []

    def answers() -> bool:
        service = engine.observe(service_id)
        found[:] = [service] if service else []
        if service and service.state == ServiceState.FAILED:
            pytest.fail(service.reason)
        return service is not None and service.state == ServiceState.READY

    until(answers, 120)
    return found[0]


def test_a_model_is_served_scaled_and_ended(engine: RayEngine, model_dir: Path) -> None:
    begun = engine.apply(a_spec("sums-1", model_dir))
    assert begun.state in (ServiceState.STARTING, ServiceState.READY)
    service = ready(engine, "sums-1")
    assert ask(service, [[1, 2], [3, 4]]).json() == {"predictions": [3, 7]}
    assert ask(service, [[1]], key="another").status == 401
    again = engine.apply(a_spec("sums-1", model_dir))
    assert again.state == ServiceState.READY, again
    engine.apply(a_spec("sums-1", model_dir, replicas=2))
    until(lambda: len([one for one in ready(engine, "sums-1").replicas if one.state == "ready"]) == 2, 90)
    until(lambda: any("it was loaded" in line for line in engine.logs("sums-1", 200)), 60)
    one = ready(engine, "sums-1").replicas[0]
    assert engine.logs("sums-1", 50, replica=one.id)
    with pytest.raises(Invalid, match=rf"replica is 'nobody'; it must be the id of a replica: .*{one.id}"):
        engine.logs("sums-1", 50, replica="nobody")
    engine.stop("sums-1")
    until(lambda: engine.observe("sums-1") is None, 60)
    assert not WantedApplication.objects.exists()
    assert any("it was loaded" in line for line in engine.logs("sums-1", 200, replica=one.id))


TELLS = """
import os
import tinypack


def seen():
    found = dict(os.environ)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found[pid] = open(f"/proc/{pid}/environ").read()
        except OSError:
            pass
    return found


class Predictor:
    def load(self, path):
        pass

    def predict(self, rows):
        told = [name for name, value in seen().items() if "ray-token" in value]
        return [[tinypack.VALUE, os.getuid(), told] for row in rows]
"""


def test_a_model_has_packages_of_its_own_and_cannot_read_the_clusters_token(
    engine: RayEngine, ray_cluster: RayCluster, model_dir: Path
) -> None:
    (model_dir / "predictor.py").write_text(TELLS)
    (model_dir / "requirements.txt").write_text("tinypack==8.8\n")
    engine.apply(a_spec("tells-1", model_dir))
    seen: list[Service] = []

    def failed() -> bool:
        seen.extend(filter(None, [engine.observe("tells-1")]))
        return bool(seen) and seen[-1].state == ServiceState.FAILED

    until(failed, 120)
    assert any(one.preparing for one in seen)
    assert seen[-1].reason.startswith("The packages of requirements.txt could not be installed: ")
    assert "tinypack was not found" in seen[-1].reason
    wheel(ray_cluster.wheels, version="8.8")
    engine.apply(a_spec("tells-1", model_dir))
    ((value, uid, told),) = ask(ready(engine, "tells-1"), [[1]]).json()["predictions"]
    assert value == "8.8"
    assert not [name for name in told if not name.isdigit()]
    if (
        uid != os.getuid()
    ):  # where an account of its own can read the code, other processes are closed to it too
        assert told == []


def test_a_gpu_type_is_found_by_the_nodes_own_word(engine: RayEngine, model_dir: Path) -> None:
    assert list(engine.gpu_types()) == ["T4"]
    with pytest.raises(EngineWaits, match=r"No node of the cluster has a A100; what it has: T4 \(1 nodes\)"):
        engine.apply(a_spec("sums-a100", model_dir, gpu_type="A100"))
    assert engine.observe("sums-a100") is None
    engine.apply(a_spec("sums-t4", model_dir, gpu_type="T4"))
    assert ask(ready(engine, "sums-t4"), [[1, 1]]).json() == {"predictions": [2]}
    nodes = {node.node_id: node for node in engine.dashboard.nodes()}
    (replica,) = engine.dashboard.applications()["applications"]["sums-t4"]["deployments"]["Model"][
        "replicas"
    ]
    assert nodes[replica["node_id"]].accelerators == ["T4"]


def test_a_cluster_that_is_away_or_has_another_token_says_so(engine: RayEngine) -> None:
    engine.dashboard.headers = {"Authorization": "Bearer another-token-0123456789abcdef0123"}
    with pytest.raises(EngineAway, match="RAY_TOKEN"):
        engine.services()
    engine.dashboard.headers = {"Authorization": f"Bearer {TOKEN}"}


# What is killed, and with it maybe all that the cluster knew.
@pytest.mark.skipif("SOAK_CLUSTER" not in os.environ, reason="played by `make soak`")
@pytest.mark.parametrize("lost", ["worker", "head"])
def test_what_is_killed_heals(lost: str, engine: RayEngine, ray_cluster: RayCluster, model_dir: Path) -> None:
    spec = a_spec("sums-lost", model_dir, gpu_type="T4" if lost == "worker" else "")
    for _ in range(int(os.environ.get("SOAK_FAULT_ROUNDS", "1"))):
        engine.apply(spec)
        assert ask(ready(engine, "sums-lost"), [[1, 2]]).json() == {"predictions": [3]}
        if lost == "worker":
            ray_cluster.kill_worker()
            until(lambda: _is_true_without(engine), 60)
        else:
            ray_cluster.kill()
            with pytest.raises(EngineAway):
                engine.observe("sums-lost")
        ray_cluster.heal()
        until(lambda: _again(engine, spec), 120)
        assert ask(ready(engine, "sums-lost"), [[2, 2]]).json() == {"predictions": [4]}


def _is_true_without(engine: RayEngine) -> bool:
    """Nobody says that a model answers whose node is gone."""
    service = engine.observe("sums-lost")
    return service is None or service.state != ServiceState.READY


def _again(engine: RayEngine, spec: ServiceSpec) -> bool:
    """As the reconciler does: what is gone or failed is applied again."""
    service = engine.observe(spec.service_id)
    if service is None or service.state == ServiceState.FAILED:
        engine.apply(spec)
    return service is not None and service.state == ServiceState.READY
