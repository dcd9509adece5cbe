"""An endpoint that fails too many requests outside of any rollout says so, and so do the notifications."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Notification
from deployments.models import Deployment, EndpointTraffic
from deployments.tasks import watch_errors
from deployments.watching import WINDOW
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


def test_what_callers_sent_wrong_and_what_few_requests_met_degrades_nothing(ann: Person) -> None:  # noqa: F811
    deployment = deployed(ann)
    answered(deployment, requests=100, errors=0, refused=90)
    assert stands(deployment) == ("Active", "")
    EndpointTraffic.objects.all().delete()
    answered(deployment, requests=3, errors=3)
    assert stands(deployment) == ("Active", "")
