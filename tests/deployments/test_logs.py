"""What an endpoint's processes wrote, while they run and after they ended."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from deployments.models import Deployment
from tests.deployments.conftest import (
    EngineProcess,
    a_quick_version,
    deployed,
    state,
    work_until,
    work_until_idle,
)
from tests.factories import Person
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


def page(person: Person, query: str = "", status: int = 200) -> str:
    client = Client()
    client.force_login(person.user)
    answer = client.get(f"/projects/{person.project.slug}/deployments/iris-api/logs/{query}")
    assert answer.status_code == status, answer.content
    return answer.content.decode()


def changed(person: Person, version: Any) -> None:
    """Asks for another version, and works until it is known what became of it."""
    url = f"{person.base}/deployments/iris-api"
    assert person.api.patch(url, {"version": version.number}, format="json").status_code == 200
    work_until(lambda: state(person) == "Degraded")
    work_until_idle()


def test_the_log_of_a_revision_that_failed_is_there_after_its_process_ended(
    ada: Person, engine: EngineProcess
) -> None:
    deployed(ada, a_quick_version(ada, load='print("the first is here")'))
    changed(ada, a_quick_version(ada, load='print("looking"); raise RuntimeError("the weights are gone")'))
    failed = Deployment.objects.get(endpoint_name="iris-api").revisions.get(number=2)
    until(lambda: engine.client.observe(failed.service_id) is None, 30)

    shown = page(ada)
    assert "the weights are gone" in shown and "the first is here" not in shown
    assert "Revision 2 (v2, Failed)" in shown and "Revision 1 (v1, Active)" in shown
    first = page(ada, "?revision=1")
    assert "the first is here" in first and "the weights are gone" not in first
    found = ada.api.get(f"{ada.base}/deployments/iris-api/logs?revision=2&search=WEIGHTS")
    assert any("the weights are gone" in line for line in found.json()["lines"])
    page(ada, "?revision=9", 404)
    assert "revision is &#x27;two&#x27;; it must be a whole number." in page(ada, "?revision=two", 400)


def test_lines_are_searched_filtered_by_replica_and_downloaded_on_the_page(
    ada: Person, engine: EngineProcess
) -> None:
    deployed(ada, a_quick_version(ada, load='print("one"); print("two")'))
    revision = Deployment.objects.get(endpoint_name="iris-api").revisions.get()
    service = engine.client.observe(revision.service_id)
    assert service is not None
    replica = service.replicas[0].id
    shown = page(ada, f"?replica={replica}&search=ONE")
    assert f"[{replica}] one" in shown and f"[{replica}] two" not in shown
    assert f"<option selected>{replica}</option>" in shown
    assert "No line matches." in page(ada, "?search=never-said")
    whole = page(ada, f"?download=1&replica={replica}")
    assert whole.count(f"[{replica}] ") == len(whole.splitlines()) and "two" in whole


def test_what_is_no_replica_is_told_with_a_sentence(ada: Person) -> None:
    deployed(ada, a_quick_version(ada))
    answer = ada.api.get(f"{ada.base}/deployments/iris-api/logs?replica=abc")
    assert answer.status_code == 400, answer.data
    assert answer.json()["detail"].startswith("replica is 'abc'; it must be the id of a replica")
    assert "it must be the id of a replica" in page(ada, "?replica=abc", 400)
