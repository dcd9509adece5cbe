"""Two people at one endpoint at once: nobody undoes what the other did without knowing, and everybody is told what is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction

from deployments import services, wanting
from deployments.engines.local import LocalEngine
from deployments.models import Deployment, DeploymentRevision
from registry.aliases import set_alias
from tests.deployments.conftest import a_quick_version, a_version, deploy, endpoint
from tests.factories import Person, make_person
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "deployments/iris-api"
Meanwhile = Callable[[Callable[[], Any]], None]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """What somebody else does once the next verb has read the endpoint, and has not locked it yet."""
    real = services.lack_known_now

    def does(act: Callable[[], Any]) -> None:
        def looked(engine: str, gpu_type: str) -> str:
            monkeypatch.setattr(services, "lack_known_now", real)
            act()
            return real(engine, gpu_type)

        monkeypatch.setattr(services, "lack_known_now", looked)

    return does


def patch(person: Person, **change: Any) -> Any:
    return person.api.patch(f"{person.base}/{ADDRESS}", change, format="json")


def follows_an_alias(person: Person) -> None:
    version = a_quick_version(person)
    about = {"project": person.project, "model_name": "iris", "alias": "live", "version": version.number}
    set_alias(actor=person.actor, **about)
    body = {"model_name": "iris", "version": "live", "endpoint_name": "iris-api"}
    assert person.api.post(f"{person.base}/deployments", body, format="json").json()["follows"] == "live"


@pytest.mark.parametrize("change", [{"description": "Flowers"}, {"max_replicas": 2}, {"rate_limit": 5}])
def test_who_changes_something_else_does_not_make_it_follow_again(
    ada: Person, meanwhile: Meanwhile, change: dict[str, Any]
) -> None:
    follows_an_alias(ada)
    bob = make_person(ada.project)
    meanwhile(lambda: patch(bob, follow=False))
    assert patch(ada, **change).status_code == 200
    assert endpoint(ada)["follows"] == ""


@pytest.mark.parametrize("change", [{"version": 1}, {"max_replicas": 1}, {"version": 1, "max_replicas": 1}])
def test_who_asks_for_what_somebody_has_just_changed_is_told_so(
    ada: Person, meanwhile: Meanwhile, change: dict[str, Any]
) -> None:
    deploy(ada, a_quick_version(ada))
    second, bob = a_quick_version(ada), make_person(ada.project)
    meanwhile(lambda: patch(bob, version=second.number, max_replicas=3))
    told = patch(ada, **change)
    assert (told.status_code, told.json()["code"]) == (409, "changed_meanwhile")
    assert (endpoint(ada)["version"], endpoint(ada)["max_replicas"]) == (2, 3)
    assert patch(ada, description="Flowers").status_code == 200


class WithT4(LocalEngine):
    """An engine that has what another one lacks."""

    def gpu_types(self) -> tuple[str, ...]:
        return ("T4",)


def test_a_deploy_that_names_no_engine_asks_the_endpoints_own_for_its_gpu(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = wanting.engine_for
    monkeypatch.setattr(wanting, "engine_for", lambda name: WithT4("", "") if name == "ray" else real(name))
    assert deploy(ada, a_quick_version(ada), engine="ray", gpu_type="T4").json()["warnings"] == []
    again = deploy(ada, a_quick_version(ada), gpu_type="T4").json()
    assert (again["engine"], again["warnings"]) == ("ray", [])


def test_a_failed_endpoint_changes_its_version_and_its_engine_at_once(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = wanting.engine_for
    monkeypatch.setattr(wanting, "engine_for", lambda name: WithT4("", "") if name == "ray" else real(name))
    failed = a_version(ada, b"x", servable=False, servable_reason="No loader knows it.")
    assert deploy(ada, failed).json()["state"] == "Failed"
    a_quick_version(ada)
    changed = patch(ada, version=2, engine="ray", gpu_type="T4")
    assert changed.status_code == 200, changed.json()
    found = changed.json()
    assert (found["engine"], found["version"], found["warnings"]) == ("ray", 2, [])


def test_who_changes_an_endpoint_while_somebody_takes_it_down_waits_for_that_and_is_told(ada: Person) -> None:
    """Neither waits for the other's version: at its end PostgreSQL looks that what a revision refers to is there."""
    deploy(ada, a_quick_version(ada))
    bob = make_person(ada.project)

    def change() -> Any:
        try:
            return patch(bob, max_replicas=2)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            services.undeploy(actor=ada.actor, project=ada.project, endpoint_name="iris-api")
            changed = threads.submit(change)
            until(lambda: changed.done() or waiting())
        assert changed.result().json()["code"] == "endpoint_down"


def waiting() -> int:
    """How many locks of the tests' database are waited for."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])


def test_nothing_of_a_deleted_endpoint_is_wanted_any_more(ada: Person) -> None:
    deploy(ada, a_quick_version(ada))
    a_quick_version(ada)
    ada.api.put(f"{ada.base}/{ADDRESS}/shadow", {"version": 2}, format="json")
    Deployment.objects.update(state="Failed")
    DeploymentRevision.objects.filter(is_shadow=False).update(state="Failed")
    assert ada.api.delete(f"{ada.base}/{ADDRESS}").status_code == 204
    assert set(DeploymentRevision.objects.values_list("state", flat=True)) == {"Failed", "Retired"}
