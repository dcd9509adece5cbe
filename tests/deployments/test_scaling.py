"""Replicas by load, sleep and waking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from deployments.models import Deployment, DeploymentRevision, EndpointTraffic, ReplicaSample
from deployments.scaling import prune_traffic, sample_replicas, scale_endpoints
from deployments.traffic import metrics_of
from tests.deployments.conftest import (
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

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gateway")]


def loaded(revision: DeploymentRevision, peak: int, seconds_ago: float = 0) -> None:
    EndpointTraffic.objects.create(
        deployment=revision.deployment,
        revision=revision,
        at=timezone.now() - timedelta(seconds=seconds_ago),
        requests=100,
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
    from deployments.tasks import look_after_endpoints

    look_after_endpoints()
    work_until(lambda: state(ada) == "Active", 60)
    assert ask(ada).status_code == 200
    assert events(ada)[-2:] == ["A request came: the endpoint wakes up.", "Version 1 answers again."]
    assert Deployment.objects.get().wake_asked_at is None


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
