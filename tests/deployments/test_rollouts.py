"""Changing versions step by step, going back, copies to a shadow: with models that really run."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from accounts.models import Notification
from deployments import reconcile
from deployments.choices import LATENCY_EDGES_MS, SLOT_SECONDS
from deployments.models import Deployment, DeploymentRevision, EndpointTraffic
from tests.deployments.conftest import (
    EngineProcess,
    a_quick_version,
    a_version,
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
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gateway")]

CANARY = {"steps": [10, 50], "bake_seconds": 3600, "max_error_rate": 0.1, "max_p95_ms": 100}
ADDRESS = "deployments/iris-api"


def canary(person: Person, file: bytes = b"", **changes: Any) -> DeploymentRevision:
    """An endpoint that serves its first version and gives the second, of this file, a tenth of the requests."""
    rollout = {**CANARY, **changes}
    deployed(person, a_quick_version(person, "return [1 for row in rows]"))
    second = a_version(person, file) if file else a_quick_version(person)
    assert deploy(person, second, rollout=rollout).status_code == 200
    work_until(lambda: endpoint(person)["canary_percent"] == rollout["steps"][0], 60)
    revision = Deployment.objects.get().wanted_revision
    assert revision is not None
    return revision


def serves(person: Person) -> None:
    """Has the endpoint's one revision serve; no process runs."""
    DeploymentRevision.objects.update(state="Active", active_at=datetime.now(UTC))
    Deployment.objects.update(serving_revision=DeploymentRevision.objects.get())
    reconcile.note(Deployment.objects.with_details().get(), None)
    assert state(person) == "Active"


def serving() -> DeploymentRevision:
    revision = Deployment.objects.get().serving_revision
    assert revision is not None
    return revision


def answered(
    revision: DeploymentRevision, requests: int, errors: int = 0, ms: float = 2.5, hours: int = 0, **more: int
) -> None:
    """Counts requests as the gateway does, now or hours ago."""
    slot = (datetime.now(UTC) - timedelta(hours=hours)).timestamp() // SLOT_SECONDS * SLOT_SECONDS
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
            **more,
        },
    )


def refused(revision: DeploymentRevision, unfit: int, requests: int, hours: int = 0) -> None:
    """Counts requests, some of which the model refused."""
    answered(revision, requests, hours=hours, refused=unfit, unfit=unfit)


def goes_on(person: Person, revision: DeploymentRevision) -> bool:
    """Whether the canary, judged now that it has baked, goes a step on."""
    before = endpoint(person)["canary_percent"]
    DeploymentRevision.objects.filter(pk=revision.pk).update(step_at=datetime.now(UTC) - timedelta(hours=2))
    work_until(lambda: endpoint(person)["canary_percent"] != before, 60)
    EndpointTraffic.objects.all().delete()
    return bool(endpoint(person)["canary_percent"] > before)


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


FAILS_ONE_OF_FIVE = """
        self.asked = getattr(self, "asked", 0) + 1
        if self.asked % 5 == 0: raise RuntimeError("no luck")
        return [2 for row in rows]
"""


def test_a_canary_that_errs_in_one_of_five_requests_is_rolled_back_by_itself_and_charts_and_events_tell_it(
    ada: Person, engine: EngineProcess
) -> None:
    deployed(ada, a_quick_version(ada, "return [1 for row in rows]"))
    rollout = {"steps": [50], "bake_seconds": 60, "max_error_rate": 0.1}
    deploy(ada, a_quick_version(ada, FAILS_ONE_OF_FIVE), rollout=rollout)
    work_until(lambda: endpoint(ada)["canary_percent"] == 50, 60)
    answers: list[requests.Response] = []

    def rolled_back() -> bool:
        answers.append(ask(ada, rows=[1]))
        return state(ada) == "Degraded"

    work_until(rolled_back, 60)
    work_until_idle(60)
    failed = [answer for answer in answers if answer.status_code != 200]
    by_version = Counter(answer.json()["model_version"] for answer in answers if answer.ok)
    assert {answer.status_code for answer in failed} == {502} and "no luck" in failed[0].json()["detail"]
    assert len(failed) == (by_version[2] + len(failed)) // 5, "one of five of the canary's"

    found, why = endpoint(ada), "at 50 % of the requests, which is "
    assert found["reason"].startswith("Version 2 could not take over: ") and why in found["reason"]
    assert found["reason"].endswith("; the limit is 10 %. Version 1 goes on serving.")
    assert (found["serving_version"], found["canary_percent"]) == (1, 0)
    told = [line for line in events(ada) if line.startswith("Revision 2 failed: ")]
    assert len(told) == 1 and why in told[0] and "requests failed" in told[0]
    assert why in Notification.objects.get(user=ada.user).text

    def metrics() -> Any:
        return ada.api.get(f"{ada.base}/{ADDRESS}/metrics").json()

    until(lambda: metrics()["counts"]["requests"] == len(answers), 20)
    charts = metrics()
    counts = {each["version"]: each["counts"] for each in charts["revisions"]}
    counted = {version: (each["requests"], each["errors"]) for version, each in counts.items()}
    assert counted == {1: (by_version[1], 0), 2: (by_version[2] + len(failed), len(failed))}
    assert sum(point["counts"]["errors"] for point in charts["series"]) == len(failed)

    assert {ask(ada).json()["model_version"] for _ in range(10)} == {1}
    assert len(engine.living()) == 1


def test_a_canary_that_refuses_what_the_serving_version_answers_is_rolled_back(
    ada: Person, iris_file: bytes
) -> None:
    revision = canary(ada, iris_file, steps=[50], max_p95_ms=None)
    found = {ask(ada, rows=[[1.0, 2.0]]).status_code for _ in range(60)}
    assert found == {200, 422}
    work_until(lambda: state(ada) == "Degraded", 60)
    revision.refresh_from_db()
    assert "refused (4xx) at 50 % of the requests, which is 100 %; the serving version" in revision.reason
    work_until_idle(60)
    assert {ask(ada, rows=[[1.0, 2.0]]).json()["model_version"] for _ in range(10)} == {1}


def test_a_canary_that_refuses_more_says_how_much_and_what_the_gateway_refused_is_left_out(
    ada: Person,
) -> None:
    revision = canary(ada)
    answered(serving(), 1000, refused=646, unfit=6)
    refused(revision, 31, 40)
    counted = ada.api.get(f"{ada.base}/{ADDRESS}/metrics").json()["revisions"]
    assert [(row["counts"]["refused"], row["counts"]["unfit"]) for row in counted] == [(31, 31), (646, 6)]
    work_until(lambda: state(ada) == "Degraded", 60)
    why = (
        "31 of 40 requests were refused (4xx) at 10 % of the requests, which is 77.5 %; "
        "the serving version refuses 1.67 %, and the limit is 10 % more."
    )
    assert f"Revision 2 failed: {why}" in events(ada)


def test_nonsense_that_callers_send_to_both_rolls_no_canary_back(ada: Person) -> None:
    revision = canary(ada, steps=[10, 20, 30, 40, 50, 60])
    refused(revision, 14, 40)
    refused(serving(), 108, 360)
    assert goes_on(ada, revision), "It refuses as much as what serves."
    refused(revision, 6, 10)
    refused(serving(), 27, 90)
    assert goes_on(ada, revision), "Twice as much of so few is chance."
    refused(revision, 2, 10)
    refused(serving(), 0, 30)
    assert goes_on(ada, revision), "Two odd requests came to the canary by lot."
    refused(revision, 40, 40)
    assert goes_on(ada, revision), "Nobody asked what serves: there is nothing to compare with."
    refused(revision, 40, 40)
    refused(serving(), 60, 60)
    assert goes_on(ada, revision), "What serves refuses everything too."


def test_a_canary_beside_which_nobody_asks_is_compared_with_the_day_before(ada: Person) -> None:
    revision = canary(ada)
    refused(serving(), 9, 300, hours=20)
    refused(revision, 40, 40)
    work_until(lambda: state(ada) == "Degraded", 60)
    assert "the serving version refused 3 % in the day before, and the limit" in endpoint(ada)["reason"]


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


def test_an_endpoint_that_was_taken_down_is_not_rolled_back(ada: Person) -> None:
    deploy(ada, a_quick_version(ada))
    serves(ada)
    deploy(ada, a_quick_version(ada))
    ada.api.post(f"{ada.base}/{ADDRESS}/undeploy")
    refused = ada.api.post(f"{ada.base}/{ADDRESS}/rollback", {"revision": 1}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "endpoint_down")
    assert state(ada) == "Undeploying"


def test_a_version_that_gets_copies_is_not_deleted(ada: Person) -> None:
    deploy(ada, a_quick_version(ada))
    second, address = a_quick_version(ada), f"{ada.base}/models/iris/versions/2"
    serves(ada)
    ada.api.put(f"{ada.base}/{ADDRESS}/shadow", {"version": second.number}, format="json")
    refused = ada.api.delete(address)
    assert (refused.status_code, refused.json()["code"]) == (409, "live_endpoint")
    assert "iris-api" in refused.json()["detail"]
    ada.api.delete(f"{ada.base}/{ADDRESS}/shadow")
    assert ada.api.delete(address).status_code == 204


def test_giving_a_change_up_keeps_the_warnings_of_what_serves(ada: Person) -> None:
    warned = "No T4 is attached to this server: the endpoint runs on the CPU."
    deploy(ada, a_quick_version(ada), gpu_type="T4")
    serves(ada)
    a_quick_version(ada)
    for verb in ("abort", "rollback"):
        change = {"version": 2, "gpu_type": ""}
        assert ada.api.patch(f"{ada.base}/{ADDRESS}", change, format="json").json()["warnings"] == []
        assert ada.api.post(f"{ada.base}/{ADDRESS}/{verb}", {}, format="json").json()["warnings"] == [warned]
    deploy(ada, a_version(ada, b"x", servable=False, servable_reason="No loader knows it."))
    failed = Deployment.objects.with_details().get()
    assert failed.warnings == []
    assert failed.wanted_revision is not None
    DeploymentRevision.objects.filter(pk=failed.wanted_revision_id).update(state="Deploying")
    reconcile._give_up(failed, failed.wanted_revision, "It did not start.")
    assert endpoint(ada)["warnings"] == [warned]


def test_another_rollout_leaves_the_canary_on_its_way_its_steps_and_limits(ada: Person) -> None:
    revision = canary(ada)
    asked = ada.api.patch(f"{ada.base}/{ADDRESS}", {"rollout": {}, "description": "x"}, format="json")
    assert asked.json()["rollout"] == {}
    assert events(ada)[-1] == (
        f"{ada.user.username} asked that the next change moves the requests at once. "
        "The one on its way keeps its own steps and limits."
    )
    assert goes_on(ada, revision)
    assert endpoint(ada)["canary_percent"] == 50
    answered(revision, 60, errors=12)
    work_until(lambda: state(ada) == "Degraded", 60)
    work_until_idle(60)
    assert "12 of 60 requests failed" in endpoint(ada)["reason"]
    assert endpoint(ada)["rollout"] == {}
    a_quick_version(ada)
    ada.api.patch(f"{ada.base}/{ADDRESS}", {"version": 3}, format="json")
    work_until(lambda: endpoint(ada)["serving_version"] == 3, 60)
    assert not [line for line in events(ada) if "Version 3 gets" in line]


def test_a_canary_that_was_lost_bakes_its_step_anew(ada: Person) -> None:
    revision = canary(ada)
    work_until(lambda: state(ada) == "Updating", 60)
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    DeploymentRevision.objects.filter(pk=revision.pk).update(state="Deploying", address="", step_at=long_ago)
    work_until(lambda: events(ada)[-1] == "Version 2 answers its share of the requests again.", 60)
    reconcile.reconcile(revision.deployment_id)
    assert endpoint(ada)["canary_percent"] == 10
    assert goes_on(ada, revision)


def test_a_canary_whose_steps_are_gone_takes_over_instead_of_standing_still(ada: Person) -> None:
    revision = canary(ada)
    DeploymentRevision.objects.filter(pk=revision.pk).update(rollout={}, step_at="2026-01-01T00:00:00Z")
    work_until(lambda: endpoint(ada)["serving_version"] == 2, 60)
    work_until_idle(60)
    assert state(ada) == "Active"


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
