"""When a service of the cluster counts as ready: what the proxy answers, and how slowly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deployments.engines.base import ServiceState
from deployments.engines.ray import RayEngine


class Cluster:
    """A dashboard whose one application runs, and a proxy that answers as it is told to."""

    def __init__(self) -> None:
        self.status, self.slow = 200, threading.Event()
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
        model = {"replicas": [{"replica_id": "one", "state": "RUNNING"}]}
        return {"applications": {"sums-1": {"status": "RUNNING", "deployments": {"Model": model}}}}

    def observed(self) -> ServiceState:
        service = RayEngine(self, self.url, None, 1 << 20).observe("sums-1")  # type: ignore[arg-type]
        assert service is not None and bool(service.address) == (service.state == ServiceState.READY)
        return service.state

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
