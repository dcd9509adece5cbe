"""An engine that answers and refuses: endpoints say so, and what serves goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deployments import reconcile, wanting
from deployments.engines.base import EngineRefused, Service, ServiceSpec, ServiceState
from deployments.engines.local import LocalEngine
from deployments.models import Deployment, DeploymentRevision
from deployments.tasks import follow_aliases, look_after_endpoints
from registry.aliases import set_alias
from tests.deployments.conftest import (
    TOKEN,
    EngineProcess,
    a_quick_version,
    ask,
    deploy,
    endpoint,
    events,
    state,
    work_until,
    work_until_idle,
)
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


class Refusing(LocalEngine):
    """The embedded engine, which applies nothing while it refuses and has the GPUs that it is given."""

    refuses, gpus = False, ()
    asked = 0

    def apply(self, spec: ServiceSpec) -> Service:
        self.asked += 1
        if self.refuses:
            raise EngineRefused("The cluster has no room for more replicas.")
        return super().apply(spec)

    def gpu_types(self) -> tuple[str, ...]:
        return self.gpus


@pytest.fixture
def refusing(engine: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> Refusing:
    found = Refusing(engine.url, TOKEN)
    monkeypatch.setattr(reconcile, "engine_for", lambda name: found)
    monkeypatch.setattr(wanting, "engine_for", lambda name: found)
    return found


def look() -> None:
    look_after_endpoints()
    work_until_idle()


@pytest.mark.usefixtures("gateway")
def test_a_refused_scaling_is_a_complaint_and_the_endpoint_goes_on_serving(
    ada: Person, refusing: Refusing
) -> None:
    deploy(ada, a_quick_version(ada), max_replicas=3)
    work_until(lambda: state(ada) == "Active")
    work_until_idle()
    refusing.refuses = True
    DeploymentRevision.objects.update(replicas=2)
    sentence = (
        "The endpoint goes on with the replicas that it has: The cluster has no room for more replicas."
    )
    for _ in range(3):
        look()
        assert (state(ada), endpoint(ada)["reason"]) == ("Active", sentence)
    assert ask(ada).status_code == 200
    assert events(ada).count(sentence) == 1
    refusing.refuses = False
    look()
    work_until(lambda: refusing.services()[0].ready_replicas == 2)
    look()
    assert (state(ada), endpoint(ada)["reason"]) == ("Active", "")


@pytest.mark.usefixtures("gateway")
def test_what_waits_for_its_gpu_is_neither_scaled_nor_started_again_on_the_cpu(
    ada: Person, refusing: Refusing, settings: Any
) -> None:
    settings.NO_GPU, refusing.gpus = "wait", ("T4",)
    deploy(ada, a_quick_version(ada), gpu_type="T4", max_replicas=3)
    work_until(lambda: state(ada) == "Active")
    work_until_idle()
    refusing.gpus, asked = (), refusing.asked
    DeploymentRevision.objects.update(replicas=2)
    look()
    assert (state(ada), endpoint(ada)["reason"], refusing.asked) == (
        "Active",
        "No T4 is attached to this server: the endpoint goes on with the replicas that it has.",
        asked,
    )
    assert ask(ada).status_code == 200

    plan = Deployment.objects.with_details().get()
    revision = plan.serving_revision
    assert revision is not None
    failed = Service(revision.service_id, ServiceState.FAILED, "", "", "It ended.")
    refusing.observe = lambda service_id: failed  # type: ignore[method-assign]
    for _ in range(3):
        reconcile.reconcile(plan.pk)
    assert (
        endpoint(ada)["reason"] == "No T4 is attached to this server: the endpoint waits until there is one."
    )
    assert refusing.asked == asked
    refusing.gpus = ("T4",)
    reconcile.reconcile(plan.pk)
    assert refusing.asked == asked + 1


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
