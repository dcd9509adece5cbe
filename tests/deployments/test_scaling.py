"""Replicas by load, sleep and waking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import Notification
from deployments import reconcile
from deployments.models import Deployment, DeploymentRevision, EndpointTraffic, ReplicaSample
from deployments.scaling import prune_traffic, sample_replicas, scale_endpoints
from deployments.tasks import look_after_endpoints
from deployments.traffic import metrics_of
from tests.deployments.conftest import (
    EngineProcess,
    a_quick_version,
    a_version,
    ask,
    deploy,
    endpoint,
    events,
    state,
    work_until,
    work_until_idle,
)
from tests.factories import Person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gateway")]


def awake(person: Person) -> DeploymentRevision:
    """The revision of an endpoint that serves since an hour and may sleep after a minute; no process runs."""
    deploy(person, a_quick_version(person), min_replicas=0, idle_seconds=60)
    revision, then = DeploymentRevision.objects.get(), timezone.now() - timedelta(hours=1)
    DeploymentRevision.objects.update(state="Active", active_at=then, created_at=then)
    Deployment.objects.update(serving_revision=revision, state="Active")
    revision.refresh_from_db()
    return revision


def loaded(revision: DeploymentRevision, peak: int, seconds_ago: float = 0, requests: int = 100) -> None:
    EndpointTraffic.objects.create(
        deployment=revision.deployment,
        revision=revision,
        at=timezone.now() - timedelta(seconds=seconds_ago),
        requests=requests,
        peak_in_flight=peak,
    )


def test_load_adds_replicas_up_to_the_most_and_a_lull_takes_them_away(
    ada: Person, engine: EngineProcess
) -> None:
    deploy(ada, a_quick_version(ada), min_replicas=1, max_replicas=3)
    work_until(lambda: state(ada) == "Active", 60)
    revision = Deployment.objects.get().serving_revision
    assert revision is not None
    loaded(revision, 7)
    assert (scale_endpoints(), scale_endpoints()) == (1, 0)
    assert events(ada)[-1] == "Up to 7 requests at once: 2 replicas instead of 1."
    work_until_idle(60)
    work_until(lambda: engine.client.services()[0].ready_replicas == 2, 60)
    later = timezone.now() + timedelta(seconds=300)
    assert scale_endpoints(later) == 1
    assert endpoint(ada)["replicas"] == 1
    work_until_idle(60)


def test_an_endpoint_that_nobody_asks_sleeps_and_wakes_at_a_request(
    ada: Person, engine: EngineProcess
) -> None:
    deploy(ada, a_quick_version(ada), min_replicas=0, idle_seconds=60)
    work_until(lambda: state(ada) == "Active", 60)
    revision = Deployment.objects.get().serving_revision
    assert revision is not None
    loaded(revision, 1)
    assert scale_endpoints() == 0
    later = timezone.now() + timedelta(seconds=90)
    assert (scale_endpoints(later), scale_endpoints(later)) == (1, 0)
    assert state(ada) == "Asleep"
    assert events(ada)[-1] == "No request came for 60 s: the endpoint sleeps until one does."
    work_until(lambda: not engine.living(), 60)

    Deployment.objects.update(wake_asked_at=timezone.now())
    look_after_endpoints()
    work_until(lambda: state(ada) == "Active", 60)
    assert ask(ada).status_code == 200
    assert events(ada)[-2:] == ["A request came: the endpoint wakes up.", "Version 1 answers again."]
    assert Deployment.objects.get().wake_asked_at is None


def holds_nothing_until_it_wakes(person: Person, engine: EngineProcess) -> None:
    """A sleeping endpoint has no process, and once it is asked its shadow is there too."""
    work_until(lambda: not engine.living(), 60)
    work_until_idle(60)
    assert not engine.living(), "the endpoint holds no process"
    Deployment.objects.update(wake_asked_at=timezone.now())
    look_after_endpoints()
    work_until(lambda: endpoint(person)["shadow"]["state"] == "Active", 60)


def test_a_shadow_sleeps_and_wakes_with_its_endpoint(ada: Person, engine: EngineProcess) -> None:
    deploy(ada, a_quick_version(ada), min_replicas=0, idle_seconds=60)
    work_until(lambda: state(ada) == "Active", 60)
    a_quick_version(ada)
    ada.api.put(f"{ada.base}/deployments/iris-api/shadow", {"version": 2}, format="json")
    work_until(lambda: endpoint(ada)["shadow"]["state"] == "Active", 60)
    assert scale_endpoints(timezone.now() + timedelta(seconds=90)) == 1
    assert (state(ada), endpoint(ada)["shadow"]["state"]) == ("Asleep", "Asleep")
    holds_nothing_until_it_wakes(ada, engine)
    assert state(ada) == "Active"
    assert events(ada).count("A request came: the endpoint wakes up.") == 1


def test_a_shadow_that_is_asked_for_while_the_endpoint_sleeps_starts_with_it(
    ada: Person, engine: EngineProcess
) -> None:
    deploy(ada, a_quick_version(ada), min_replicas=0, idle_seconds=60)
    work_until(lambda: state(ada) == "Active", 60)
    assert scale_endpoints(timezone.now() + timedelta(seconds=90)) == 1
    a_quick_version(ada)
    ada.api.put(f"{ada.base}/deployments/iris-api/shadow", {"version": 2}, format="json")
    holds_nothing_until_it_wakes(ada, engine)


def test_a_change_begins_with_the_replicas_that_the_load_asked_for(ada: Person) -> None:
    first = a_quick_version(ada)
    deploy(ada, first, max_replicas=4)
    deployment, revision = Deployment.objects.get(), DeploymentRevision.objects.get()
    DeploymentRevision.objects.update(state="Active", active_at=timezone.now(), replicas=4)
    Deployment.objects.update(serving_revision=revision)
    a_quick_version(ada)
    address = f"{ada.base}/deployments/iris-api"
    for change, replicas in (
        ({"version": 2}, 4),
        ({"max_replicas": 3}, 3),
        ({"max_replicas": 8, "min_replicas": 6}, 6),
    ):
        ada.api.patch(address, change, format="json")
        deployment.refresh_from_db()
        assert deployment.wanted_revision is not None
        assert deployment.wanted_revision.replicas == replicas

    DeploymentRevision.objects.filter(pk=deployment.wanted_revision_id).update(
        state="Active", active_at=timezone.now() - timedelta(hours=1), min_replicas=1
    )
    Deployment.objects.update(canary_percent=10)
    loaded(revision, 16)
    assert scale_endpoints() == 0
    assert DeploymentRevision.objects.get(number=4).replicas == 6, "all of the load comes to it soon"


def test_an_endpoint_with_a_request_that_has_no_answer_yet_stays_awake(ada: Person) -> None:
    revision = awake(ada)
    loaded(revision, 1, seconds_ago=5, requests=0)
    assert scale_endpoints() == 0
    EndpointTraffic.objects.update(at=timezone.now() - timedelta(seconds=80))
    assert scale_endpoints() == 1


def test_an_endpoint_whose_last_change_failed_sleeps_too_and_its_people_are_told_once(ada: Person) -> None:
    revision = awake(ada)
    deploy(ada, a_version(ada, b"x", servable=False, servable_reason="No loader knows it."), min_replicas=0)
    DeploymentRevision.objects.filter(number=2).update(state="Pending")
    assert scale_endpoints() == 0, "a change is on its way"
    DeploymentRevision.objects.filter(number=2).update(state="Failed")
    assert scale_endpoints() == 1
    revision.refresh_from_db()
    assert (revision.state, state(ada)) == ("Asleep", "Degraded")
    Deployment.objects.update(wake_asked_at=timezone.now())
    reconcile._wake(Deployment.objects.with_details().get())
    assert "A request came" in endpoint(ada)["reason"]
    assert Notification.objects.filter(user=ada.user).count() == 1


def test_uptime_counts_from_the_first_answer_on_and_only_while_it_is_known(ada: Person) -> None:
    deploy(ada, a_quick_version(ada))
    found, now = Deployment.objects.get(), datetime.now(UTC)

    def uptime(*samples: tuple[int, int, int]) -> float | None:
        ReplicaSample.objects.all().delete()
        for minutes_ago, wanted, ready in samples:
            at = now - timedelta(minutes=minutes_ago)
            ReplicaSample.objects.create(deployment=found, at=at, wanted=wanted, ready=ready)
        return metrics_of(found, 1, now).uptime

    assert uptime() is None
    assert uptime((3, 1, 0), (2, 1, 0)) is None  # it has not come up yet
    assert uptime((9, 1, 0), (2, 1, 1), (1, 1, 1)) == 1.0  # what it took to start counts for nothing
    assert uptime((4, 1, 1), (3, 1, 1), (2, 1, 0), (1, 1, 0)) == 0.5
    assert uptime((4, 1, 1), (3, 0, 0), (2, 0, 0), (1, 1, 1)) == 1.0  # asleep
    assert uptime((50, 1, 1), (2, 1, 0)) == 0.5  # two known minutes of each, taken down in between


def test_replicas_are_noted_when_they_change_and_old_counts_are_removed(ada: Person) -> None:
    deploy(ada, a_quick_version(ada))
    now = datetime.now(UTC)
    sample_replicas(now)
    sample_replicas(now + timedelta(seconds=5))
    assert [(row.wanted, row.ready) for row in ReplicaSample.objects.all()] == [(1, 0)]
    DeploymentRevision.objects.update(ready_replicas=1)
    sample_replicas(now + timedelta(seconds=10))
    assert ReplicaSample.objects.count() == 2
    found = ada.api.get(f"{ada.base}/deployments/iris-api/metrics?hours=1").json()
    assert [(each["wanted"], each["ready"]) for each in found["replicas"]] == [(1, 0), (1, 1)]
    revision = DeploymentRevision.objects.get()
    loaded(revision, 1, seconds_ago=9 * 86400)
    loaded(revision, 2)
    assert prune_traffic() == 1
    assert EndpointTraffic.objects.get().peak_in_flight == 2
