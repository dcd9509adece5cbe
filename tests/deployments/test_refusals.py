"""An engine that answers and refuses: endpoints say so, and what serves goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deployments.tasks import follow_aliases, look_after_endpoints
from registry.aliases import set_alias
from tests.deployments.conftest import a_quick_version, deploy, endpoint, work_until
from tests.factories import Person

pytestmark = [pytest.mark.django_db(transaction=True)]
ADDRESS = "deployments/iris-api"


class NoDashboard(BaseHTTPRequestHandler):
    """Something else listens where the cluster's dashboard should."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing on the tests' screen."""


@pytest.fixture
def no_dashboard(settings: Any) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoDashboard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.RAY_ADDRESS = f"http://127.0.0.1:{server.server_port}"
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("no_dashboard")
def test_a_dashboard_that_is_none_is_said_in_the_reason_and_stops_no_other_endpoint(ada: Person) -> None:
    first = a_quick_version(ada)
    made = deploy(ada, first, engine="ray", gpu_type="T4")
    assert made.status_code == 201
    work_until(lambda: "refused this with status 404" in endpoint(ada)["reason"])
    changed = ada.api.patch(f"{ada.base}/{ADDRESS}", {"max_replicas": 2}, format="json")
    assert (changed.status_code, changed.json()["state"]) == (200, "Pending")
    assert ada.api.post(f"{ada.base}/{ADDRESS}/rollback", {"revision": 1}, format="json").status_code == 200

    where = {"actor": ada.actor, "project": ada.project, "model_name": "iris", "alias": "best"}
    set_alias(version=first.number, **where)
    for name, more in (("broken", {"engine": "ray", "gpu_type": "T4"}), ("sound", {})):
        body = {"model_name": "iris", "version": "best", "endpoint_name": name, **more}
        assert ada.api.post(f"{ada.base}/deployments", body, format="json").status_code == 201
    set_alias(version=a_quick_version(ada).number, **where)
    follow_aliases()
    assert [endpoint(ada, name)["version"] for name in ("broken", "sound")] == [2, 2]
    look_after_endpoints()
    assert "refused this with status 404" in endpoint(ada, "broken")["reason"]
