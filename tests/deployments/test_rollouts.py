"""Changing versions step by step, going back, copies to a shadow: with models that really run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Notification
from deployments.choices import LATENCY_EDGES_MS, SLOT_SECONDS
from deployments.models import Deployment, DeploymentRevision, EndpointTraffic
from tests.deployments.conftest import (
    EngineProcess,
    a_quick_version,
    ask,
    deploy,
    deployed,
    endpoint,
    events,
    state,
    work_until,
    work_until_idle,
)
from tests.factories import Person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gateway")]

CANARY = {"steps": [10, 50], "bake_seconds": 3600, "max_error_rate": 0.1, "max_p95_ms": 100}
ADDRESS = "deployments/iris-api"


def canary(person: Person, **rollout: Any) -> DeploymentRevision:
    """An endpoint that serves its first version and gives the second a tenth of the requests."""
    deployed(person, a_quick_version(person, "return [1 for row in rows]"))
    assert deploy(person, a_quick_version(person), rollout={**CANARY, **rollout}).status_code == 200
    work_until(lambda: endpoint(person)["canary_percent"] == 10, 60)
    revision = Deployment.objects.get().wanted_revision
    assert revision is not None
    return revision


def answered(revision: DeploymentRevision, requests: int, errors: int = 0, ms: float = 2.5) -> None:
    """Counts requests as the gateway does."""
    slot = datetime.now(UTC).timestamp() // SLOT_SECONDS * SLOT_SECONDS
    buckets = [0] * (len(LATENCY_EDGES_MS) + 1)
    buckets[next(i for i, edge in enumerate(LATENCY_EDGES_MS) if ms <= edge)] = requests
    EndpointTraffic.objects.update_or_create(
        deployment=revision.deployment,
        revision=revision,
        at=datetime.fromtimestamp(slot, tz=UTC),
        shadow=False,
        defaults={
            "requests": requests,
            "errors": errors,
            "total_ms": ms * requests,
            "buckets": buckets,
            "peak_in_flight": 1,
        },
    )


def test_a_canary_that_bakes_without_complaint_takes_over_step_by_step(
    ada: Person, engine: EngineProcess
) -> None:
    revision = canary(ada)
    found = endpoint(ada)
    assert (found["state"], found["version"], found["serving_version"]) == ("Updating", 2, 1)
    assert found["reason"] == "Version 2 gets 10 % of the requests (step 1 of 2)."
    answered(revision, 100, errors=5)
    for _ in range(2):
        DeploymentRevision.objects.filter(pk=revision.pk).update(step_at="2026-01-01T00:00:00Z")
        before = endpoint(ada)["canary_percent"]
        work_until(lambda before=before: endpoint(ada)["canary_percent"] != before, 60)
    work_until_idle(60)
    found = endpoint(ada)
    assert (found["state"], found["serving_version"], found["canary_percent"]) == ("Active", 2, 0)
    assert [line for line in events(ada) if "gets" in line] == [
        "Version 2 gets 10 % of the requests (revision 2).",
        "Version 2 gets 50 % of the requests (revision 2).",
    ]
    assert len(engine.living()) == 1


def test_a_canary_that_errs_is_rolled_back_by_itself_and_says_why(ada: Person, engine: EngineProcess) -> None:
    answered(canary(ada), 60, errors=12)
    work_until(lambda: state(ada) == "Degraded", 60)
    work_until_idle(60)
    found = endpoint(ada)
    why = "12 of 60 requests failed at 10 % of the requests, which is 20 %; the limit is 10 %."
    assert found["reason"] == f"Version 2 could not take over: {why} Version 1 goes on serving."
    assert (found["serving_version"], found["canary_percent"]) == (1, 0)
    assert f"Revision 2 failed: {why}" in events(ada)
    assert why in Notification.objects.get(user=ada.user).text
    assert len(engine.living()) == 1
    assert ask(ada).json()["model_version"] == 1


def test_a_slow_canary_is_rolled_back_and_a_few_requests_say_nothing(ada: Person) -> None:
    revision = canary(ada)
    answered(revision, 9, errors=9, ms=900)
    assert state(ada) == "Updating"
    answered(revision, 100, ms=900)
    work_until(lambda: state(ada) == "Degraded", 60)
    assert "95 % of 100 requests took up to" in endpoint(ada)["reason"]


def test_a_canary_is_promoted_or_aborted_by_hand(ada: Person, engine: EngineProcess) -> None:
    canary(ada)
    aborted = ada.api.post(f"{ada.base}/{ADDRESS}/abort").json()
    assert (aborted["state"], aborted["version"], aborted["canary_percent"]) == ("Active", 1, 0)
    work_until_idle(60)
    assert len(engine.living()) == 1
    assert ada.api.post(f"{ada.base}/{ADDRESS}/abort").json()["code"] == "no_rollout"
    assert ada.api.post(f"{ada.base}/{ADDRESS}/promote").json()["code"] == "no_rollout"

    ada.api.patch(f"{ada.base}/{ADDRESS}", {"version": 2, "rollout": CANARY}, format="json")
    work_until(lambda: endpoint(ada)["canary_percent"] == 10, 60)
    promoted = ada.api.post(f"{ada.base}/{ADDRESS}/promote").json()
    assert (promoted["state"], promoted["serving_version"]) == ("Active", 2)
    work_until_idle(60)

    back = ada.api.post(f"{ada.base}/{ADDRESS}/rollback", {}, format="json").json()
    assert (back["version"], back["rollout"]["steps"]) == (1, [10, 50])
    work_until(lambda: endpoint(ada)["serving_version"] == 1, 60)
    assert endpoint(ada)["canary_percent"] == 0
    work_until_idle(60)
    there = ada.api.post(f"{ada.base}/{ADDRESS}/rollback", {"revision": 3}, format="json").json()
    assert there["version"] == 2
    assert "rolled back to revision 3, version 2" in events(ada)[-1]
    missing = ada.api.post(f"{ada.base}/{ADDRESS}/rollback", {"revision": 99}, format="json")
    assert (missing.status_code, missing.json()["code"]) == (404, "revision_not_found")


def test_a_shadow_runs_beside_and_never_serves(ada: Person, engine: EngineProcess) -> None:
    deployed(ada, a_quick_version(ada, "return [1 for row in rows]"))
    a_quick_version(ada)
    shadowed = ada.api.put(f"{ada.base}/{ADDRESS}/shadow", {"version": 2}, format="json").json()
    assert shadowed["shadow"]["version"] == 2
    work_until(lambda: endpoint(ada)["shadow"]["state"] == "Active", 60)
    work_until_idle(60)
    found = endpoint(ada)
    assert (found["state"], found["version"], found["serving_version"]) == ("Active", 1, 1)
    assert len(engine.living()) == 2
    shadow = Deployment.objects.get().shadow_revision
    assert shadow is not None
    EndpointTraffic.objects.create(
        deployment=shadow.deployment,
        revision=shadow,
        at=datetime.now(UTC),
        shadow=True,
        requests=10,
        agreed=7,
        differed=3,
        buckets=[10],
    )
    counted = ada.api.get(f"{ada.base}/{ADDRESS}/metrics").json()
    assert counted["counts"]["requests"] == 0
    assert [(each["version"], each["agreed"], each["differed"]) for each in counted["revisions"]] == [
        (2, 7, 3)
    ]
    assert ada.api.delete(f"{ada.base}/{ADDRESS}/shadow").json()["shadow"] is None
    work_until_idle(60)
    assert len(engine.living()) == 1


def test_wrong_rollouts_are_refused_with_the_field(ada: Person) -> None:
    version = a_quick_version(ada)
    for rollout, name in (
        ({"steps": []}, "rollout.steps"),
        ({"steps": [50, 10]}, "rollout.steps"),
        ({"steps": [100]}, "rollout.steps"),
        ({"steps": [10], "bake_seconds": 0}, "rollout.bake_seconds"),
        ({"steps": [10], "max_error_rate": 2}, "rollout.max_error_rate"),
        ({"speed": 1}, "rollout"),
    ):
        answer = deploy(ada, version, rollout=rollout)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [name])
