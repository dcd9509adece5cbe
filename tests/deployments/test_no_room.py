"""An engine that has no room now: endpoints wait, say so, and begin with all their time once there is some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Notification
from deployments import reconcile
from deployments.engines.base import Service, ServiceState
from deployments.engines.local import LocalEngine
from deployments.models import Deployment, DeploymentRevision
from deployments.tasks import look_after_endpoints
from deployments.wanting import look_soon
from tests.deployments.conftest import (
    TOKEN,
    EngineProcess,
    a_quick_version,
    a_version,
    deploy,
    deployed,
    endpoint,
    events,
    work_until,
    work_until_idle,
)
from tests.factories import Person

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "deployments/iris-api"
NO_ROOM = "No node of the cluster has a CPU free: the endpoint waits until one has."
PREPARES = "A node of the cluster prepares it."


class Crowded(LocalEngine):
    """The embedded engine, whose services are only as far as it says: without room, being prepared, or loading."""

    longest_preparation: timedelta | None = timedelta(minutes=30)  # type: ignore[assignment]
    far: dict[str, Any] | None = None
    serves_on = ""
    """A service that had its room before."""
    more: Mapping[str, Any] = {}
    """What is to be said of a ready one."""

    def services(self) -> list[Service]:
        return [replace(each, **self.more) for each in super().services()]

    def observe(self, service_id: str) -> Service | None:
        found = super().observe(service_id)
        if found is None or self.far is None or service_id == self.serves_on:
            return replace(found, **self.more) if found else None
        return replace(found, state=ServiceState.STARTING, address="", key="", **self.far)

    def is_full(self) -> None:
        self.far = {"unplaced": True, "reason": NO_ROOM}

    def prepares(self) -> None:
        self.far = {"preparing": True, "reason": PREPARES}

    def loads(self) -> None:
        self.far = {"reason": ""}

    def has_room(self) -> None:
        self.far = None


@pytest.fixture
def crowded(engine: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> Crowded:
    found = Crowded(engine.url, TOKEN)
    monkeypatch.setattr(reconcile, "engine_for", lambda name: found)
    return found


def look() -> None:
    look_soon(Deployment.objects.get())
    work_until_idle()


def stands(person: Person) -> tuple[str, str]:
    found = endpoint(person)
    return found["state"], found["reason"]


def becomes(person: Person, name: str, reason: str = "") -> None:
    """Looks as the clock does every few seconds, and works until the endpoint stands so."""
    look_soon(Deployment.objects.get())
    work_until(lambda: stands(person) == (name, reason), 20)


def waits_since(ago: timedelta) -> None:
    then = timezone.now() - ago
    DeploymentRevision.objects.update(created_at=then, started_at=then, awaited_at=then)


def test_what_waited_for_room_for_hours_has_all_its_time_once_there_is_some(
    ada: Person, crowded: Crowded
) -> None:
    crowded.is_full()
    deploy(ada, a_quick_version(ada))
    becomes(ada, "Pending", NO_ROOM)
    waits_since(timedelta(hours=2))
    crowded.prepares()
    becomes(ada, "Deploying", PREPARES)
    crowded.has_room()
    becomes(ada, "Active")


def test_what_served_and_finds_no_room_after_a_loss_is_degraded_and_always_says_why(
    ada: Person, crowded: Crowded
) -> None:
    deployed(ada, a_quick_version(ada))
    Deployment.objects.update(wake_asked_at=timezone.now())  # by somebody who came just as it was awake
    crowded.is_full()
    look()
    assert stands(ada) == ("Degraded", NO_ROOM)
    for far in (crowded.loads, crowded.prepares, crowded.loads):
        far()
        reconcile.reconcile(Deployment.objects.get().pk)
        reason = PREPARES if far == crowded.prepares else "It is being started again."
        assert stands(ada) == ("Degraded", reason)
    crowded.has_room()
    becomes(ada, "Active")


def test_an_endpoint_that_wakes_up_and_finds_no_room_is_pending_and_may_be_undeployed(
    ada: Person, crowded: Crowded
) -> None:
    deployed(ada, a_quick_version(ada))
    crowded.is_full()
    DeploymentRevision.objects.update(state="Asleep", address="", min_replicas=0, replicas=0)
    Deployment.objects.update(state="Asleep", wake_asked_at=timezone.now())
    look()
    assert stands(ada) == ("Pending", NO_ROOM)
    crowded.loads()
    reconcile.reconcile(Deployment.objects.get().pk)
    assert stands(ada) == ("Deploying", "It is being started again.")
    crowded.is_full()
    look()
    ada.api.post(f"{ada.base}/{ADDRESS}/undeploy")
    becomes(ada, "Inactive")
    (revision,) = ada.api.get(f"{ada.base}/{ADDRESS}/revisions").json()["results"]
    assert (revision["state"], revision["reason"]) == ("Retired", "")


def test_an_endpoint_that_loses_what_serves_in_the_middle_of_a_change_tells_its_people(
    ada: Person, crowded: Crowded
) -> None:
    deployed(ada, a_quick_version(ada))
    crowded.serves_on = DeploymentRevision.objects.get().service_id
    crowded.is_full()
    deploy(ada, a_quick_version(ada))
    becomes(ada, "Updating", NO_ROOM)
    work_until_idle()
    assert not Notification.objects.exists()
    crowded.serves_on = ""
    look()
    assert stands(ada) == ("Updating", NO_ROOM)
    told = Notification.objects.get(user=ada.user)
    assert told.text.startswith("The endpoint iris-api is Updating: ")
    assert told.text.endswith("It is being started again.")
    crowded.has_room()
    becomes(ada, "Active")
    assert endpoint(ada)["serving_version"] == 2


def test_people_are_told_of_a_loss_after_a_change_that_failed_too(ada: Person, crowded: Crowded) -> None:
    deployed(ada, a_quick_version(ada))
    deploy(ada, a_version(ada, b"x", servable=False, servable_reason="No loader knows it."))
    assert Notification.objects.filter(user=ada.user).count() == 1
    crowded.is_full()
    look()
    told = [each.text for each in Notification.objects.filter(user=ada.user).order_by("pk")]
    why = "The endpoint iris-api is Degraded: Version 2 could not take over: No loader knows it."
    assert told[0] == f"{why} Version 1 goes on serving."
    assert told[1:] and told[1].startswith(why) and told[1].endswith("It is being started again.")


def test_an_endpoint_without_room_for_more_replicas_goes_on_and_says_so(
    ada: Person, crowded: Crowded
) -> None:
    deployed(ada, a_quick_version(ada))
    crowded.more = {"unplaced": True, "reason": "No node of the cluster has a CPU free."}
    for _ in range(2):
        look_after_endpoints()
        work_until_idle()
        said = "The endpoint goes on with the replicas that it has: No node of the cluster has a CPU free."
        assert stands(ada) == ("Active", said)
    assert events(ada).count(said) == 1
    crowded.more = {}
    look_after_endpoints()
    work_until_idle()
    assert stands(ada) == ("Active", "")


def test_a_shadow_ends_with_all_that_serves(ada: Person, crowded: Crowded, engine: EngineProcess) -> None:
    deployed(ada, a_quick_version(ada))
    a_quick_version(ada)
    ada.api.put(f"{ada.base}/{ADDRESS}/shadow", {"version": 2}, format="json")
    work_until(lambda: endpoint(ada)["shadow"]["state"] == "Active", 20)
    plan = Deployment.objects.with_details().get()
    assert plan.serving_revision is not None
    reconcile._give_up(plan, plan.serving_revision, "It ended again and again.")
    assert stands(ada) == ("Failed", "It ended again and again.")
    assert endpoint(ada)["shadow"] is None
    look()
    assert not engine.living()


def test_people_are_told_when_what_waited_is_given_up_and_not_when_they_have_just_asked_for_it(
    ada: Person, crowded: Crowded
) -> None:
    crowded.is_full()
    deploy(ada, a_quick_version(ada))
    becomes(ada, "Pending", NO_ROOM)
    reconcile.give_up(Deployment.objects.get().pk, "The worker has a defect.")
    told = Notification.objects.get(user=ada.user)
    assert told.text.startswith("The endpoint iris-api is Failed: The deployment could not be carried out:")
    unservable = a_version(ada, b"x", servable=False, servable_reason="No loader knows it.")
    assert deploy(ada, unservable, "other-api").json()["state"] == "Failed"
    assert Notification.objects.count() == 1
