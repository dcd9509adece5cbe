"""When a service of the cluster counts as ready: what the proxy answers, and how slowly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.utils import timezone

from cluster.models import WantedApplication
from deployments.engines.base import Service, ServiceState
from deployments.engines.ray import RayEngine


class Cluster:
    """A dashboard whose one application runs, and a proxy that answers as it is told to."""

    def __init__(self) -> None:
        self.status, self.slow = 200, threading.Event()
        self.replica: dict[str, Any] = {"replica_id": "one", "state": "RUNNING"}
        self.others: list[dict[str, Any]] = []
        self.message = ""
        cluster = self

        class Proxy(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if cluster.slow.is_set():
                    time.sleep(7)
                self.send_response(cluster.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def applications(self) -> dict[str, Any]:
        model = {"replicas": [self.replica, *self.others], "message": self.message}
        return {"applications": {"sums-1": {"status": "RUNNING", "deployments": {"Model": model}}}}

    def has_package(self, name: str) -> bool:
        return True

    def service(self) -> Service:
        service = RayEngine(self, self.url, None, 1 << 20).observe("sums-1")  # type: ignore[arg-type]
        assert service is not None and bool(service.address) == (service.state == ServiceState.READY)
        return service

    def observed(self) -> ServiceState:
        return self.service().state

    def gone(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.gone()


@pytest.mark.django_db
def test_a_loaded_service_keeps_its_address_and_one_that_is_refused_has_none_yet(cluster: Cluster) -> None:
    assert cluster.observed() == ServiceState.READY
    cluster.slow.set()
    assert cluster.observed() == ServiceState.READY
    cluster.slow.clear()
    for status in (404, 503):
        cluster.status = status
        assert cluster.observed() == ServiceState.STARTING
    cluster.url = "http://127.0.0.1:9"
    assert cluster.observed() == ServiceState.STARTING


@pytest.mark.django_db
def test_what_finds_no_node_for_half_a_minute_has_no_room_also_after_a_loss(cluster: Cluster) -> None:
    told = "No node of the cluster has a CPU free: the endpoint waits until one has."
    cluster.replica = {"replica_id": "two", "state": "STARTING", "start_time_s": time.time()}
    scheduled = "Deployment 'Model' has 1 replicas that have taken more than 30s to be scheduled."
    lost = "A replica's health check failed. This deployment will be UNHEALTHY until the replica recovers."
    for message, seconds, waits in ((scheduled, 0, True), (lost, 5, False), (lost, 40, True)):
        cluster.message = message
        cluster.replica |= {"start_time_s": time.time() - seconds}
        found = cluster.service()
        assert (found.unplaced, found.reason == told, found.preparing) == (waits, waits, False), message
    cluster.replica["node_id"] = "abc"
    assert cluster.service().preparing and not cluster.service().unplaced
    cluster.replica |= {"state": "RUNNING"}
    assert (cluster.service().unplaced, cluster.service().reason) == (False, "")
    cluster.others = [{"replica_id": "three", "state": "STARTING", "start_time_s": time.time() - 40}]
    found = cluster.service()
    assert (found.state, found.unplaced) == (ServiceState.READY, True)
    assert found.reason == "No node of the cluster has a CPU free."


@pytest.mark.django_db
def test_a_replica_that_begins_anew_on_another_node_prepares_however_long_ago_it_was_asked_for(
    cluster: Cluster,
) -> None:
    long_ago = timezone.now() - timedelta(days=1)
    WantedApplication.objects.create(name="sums-1", config={}, changed_at=long_ago)
    cluster.replica = {"replica_id": "two", "state": "STARTING"}
    assert not cluster.service().preparing, "it waits for a node"
    cluster.replica["node_id"] = "abc"
    begun = cluster.service()
    assert begun.preparing and begun.reason.endswith("then the model itself.")
    cluster.message = "Traceback …\nserving.problems.CannotLoad: No answer from the index.\n…"
    again = cluster.service()
    assert again.preparing and again.reason.endswith("The try before failed: No answer from the index.")
