"""An endpoint that fails too many requests outside of any rollout says so, and so do the notifications."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Notification
from deployments.models import Deployment, DeploymentRevision, EndpointTraffic
from deployments.reconcile import note
from deployments.tasks import watch_errors
from deployments.watching import WINDOW
from registry.models import ModelVersion
from tests.deployments.test_pages import ann, deployed  # noqa: F401  a fixture
from tests.factories import Person

pytestmark = pytest.mark.django_db


def answered(deployment: Deployment, requests: int, errors: int, refused: int = 0) -> None:
    EndpointTraffic.objects.create(
        deployment=deployment,
        revision=deployment.serving_revision,
        at=timezone.now(),
        requests=requests,
        errors=errors,
        refused=refused,
    )


def stands(deployment: Deployment) -> tuple[str, str]:
    watch_errors()
    deployment.refresh_from_db()
    return deployment.state, deployment.reason


def test_an_endpoint_whose_errors_rise_is_degraded_and_its_people_are_told_once(ann: Person) -> None:  # noqa: F811
    deployment = deployed(ann)
    answered(deployment, requests=40, errors=2)
    assert stands(deployment) == ("Active", "")
    EndpointTraffic.objects.all().delete()
    answered(deployment, requests=40, errors=8)
    sentence = "8 of 40 requests failed in 5 minutes, which is 20 %; see its logs, or roll back."
    for _ in range(2):
        assert stands(deployment) == ("Degraded", sentence)
    told = Notification.objects.get(user=ann.user)
    assert told.text == f"The endpoint flowers is Degraded: {sentence}"

    EndpointTraffic.objects.update(at=timezone.now() - WINDOW - timedelta(seconds=1))
    assert stands(deployment) == ("Active", "")
    assert deployment.events.first().message == "It answers its requests again."  # type: ignore[union-attr]


def test_an_endpoint_whose_last_change_failed_is_watched_too(ann: Person) -> None:  # noqa: F811
    deployment = deployed(ann)
    ModelVersion.objects.update(servable=True)
    ann.api.patch(f"{ann.base}/deployments/flowers", {"version": 2}, format="json")
    DeploymentRevision.objects.filter(number=2).update(state="Failed", reason="It has no loader.")
    note(Deployment.objects.with_details().get(), None)
    why = "Version 2 could not take over: It has no loader. Version 1 goes on serving."
    assert stands(deployment) == ("Degraded", why)
    answered(deployment, requests=40, errors=8)
    sentence = "8 of 40 requests failed in 5 minutes, which is 20 %; see its logs, or roll back."
    for _ in range(2):
        assert stands(deployment) == ("Degraded", f"{sentence} {why}")
    told = [each.text for each in Notification.objects.filter(user=ann.user).order_by("pk")]
    assert told == [f"The endpoint flowers is Degraded: {each}" for each in (why, f"{sentence} {why}")]
    EndpointTraffic.objects.all().delete()
    assert stands(deployment) == ("Degraded", why)
    assert Notification.objects.filter(user=ann.user).count() == 2


def test_what_callers_sent_wrong_and_what_few_requests_met_degrades_nothing(ann: Person) -> None:  # noqa: F811
    deployment = deployed(ann)
    answered(deployment, requests=100, errors=0, refused=90)
    assert stands(deployment) == ("Active", "")
    EndpointTraffic.objects.all().delete()
    answered(deployment, requests=3, errors=3)
    assert stands(deployment) == ("Active", "")
