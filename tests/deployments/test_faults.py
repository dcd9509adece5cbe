"""What dies in the middle: the endpoint ends in a state that is true, with a sentence, and nothing is left over.

SOAK_FAULT_ROUNDS repeats each.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Notification
from common import jobs
from common.models import Job, JobState
from deployments import reconcile
from deployments.engines.base import EngineAway, EngineRefused, Service, ServiceSpec, ServiceState
from deployments.engines.local import LocalEngine
from deployments.models import Deployment, DeploymentRevision
from deployments.scaling import sample_replicas
from deployments.tasks import look_after_endpoints
from deployments.wanting import look_soon
from tests.deployments.conftest import (
    TOKEN,
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
from tests.factories import Person, make_person
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gateway")]


@pytest.fixture(params=range(int(os.environ.get("SOAK_FAULT_ROUNDS", "1"))), autouse=True)
def turn(request: pytest.FixtureRequest) -> int:
    """Which round it is."""
    return int(request.param)


def test_an_engine_that_was_killed_and_came_back_serves_the_endpoint_again(
    ada: Person, engine: EngineProcess
) -> None:
    deployed(ada, a_quick_version(ada))
    engine.kill()
    until(lambda: not engine.serving_processes(), 10)
    away = ask(ada)
    assert away.status_code == 503 and away.headers["Retry-After"]
    look_after_endpoints()
    found = endpoint(ada)
    assert (found["state"], found["reason"][:34]) == ("Active", "The serving engine does not answer")

    engine.start()
    look_after_endpoints()
    work_until(lambda: state(ada) == "Degraded")
    assert "started again" in endpoint(ada)["reason"]
    work_until(lambda: state(ada) == "Active")
    work_until_idle()
    assert endpoint(ada)["reason"] == ""
    assert ask(ada).status_code == 200
    assert events(ada)[-1] == "Version 1 answers again."


def test_an_endpoint_whose_engine_stays_away_is_degraded_and_active_again_by_itself(
    ada: Person, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(ada, a_quick_version(ada))
    look_after_endpoints()
    sample_replicas()
    nobody, sentence = LocalEngine("http://127.0.0.1:9", TOKEN), "The serving engine does not answer"
    monkeypatch.setattr(reconcile, "engine_for", lambda name: nobody)
    look_after_endpoints()
    assert state(ada) == "Active", "a moment is nothing"
    for _ in range(3):
        look_after_endpoints()
        found = endpoint(ada)
        assert (found["state"], found["reason"][:34], found["ready_replicas"]) == ("Degraded", sentence, 0)
    told = Notification.objects.get(user=ada.user)
    assert told.text.startswith(f"The endpoint iris-api is Degraded: {sentence}")
    sample_replicas()
    metrics = ada.api.get(f"{ada.base}/deployments/iris-api/metrics").json()
    assert [(each["wanted"], each["ready"]) for each in metrics["replicas"]] == [(1, 1), (1, 0)]

    monkeypatch.undo()
    look_after_endpoints()
    work_until_idle()
    assert (state(ada), endpoint(ada)["reason"], endpoint(ada)["ready_replicas"]) == ("Active", "", 1)
    assert events(ada)[-1] == "Its engine answers again."
    assert Notification.objects.filter(user=ada.user).count() == 1


def test_a_serving_process_that_died_is_started_again(ada: Person, engine: EngineProcess) -> None:
    deployed(ada, a_quick_version(ada))
    engine.client.stop(engine.living()[0])
    until(lambda: not engine.client.services(), 15)
    look_after_endpoints()
    work_until(lambda: state(ada) == "Active" and engine.living())
    work_until_idle()
    assert ask(ada).status_code == 200
    look_after_endpoints()
    assert not Job.objects.filter(state=JobState.QUEUED).exists(), "all is as wanted"


def test_a_replica_that_is_killed_is_replaced_and_requests_wait_for_it(
    ada: Person, engine: EngineProcess
) -> None:
    deployed(ada, a_quick_version(ada))

    def replicas() -> list[str]:
        return [each.id for each in engine.client.services()[0].replicas if each.state == "ready"]

    (killed,) = replicas()
    os.kill(int(killed), signal.SIGKILL)
    until(lambda: replicas() not in ([], [killed]), 60)
    assert ask(ada).status_code == 200
    look_after_endpoints()
    work_until_idle()
    assert (state(ada), endpoint(ada)["reason"]) == ("Active", "")


def test_an_engine_that_is_away_is_asked_again_until_it_is_back(ada: Person, engine: EngineProcess) -> None:
    engine.kill()
    deploy(ada, a_quick_version(ada))
    work_until(lambda: "does not answer" in endpoint(ada)["reason"])
    assert state(ada) in ("Pending", "Deploying")
    engine.start()
    work_until(lambda: state(ada) == "Active")
    assert endpoint(ada)["reason"] == ""


@pytest.mark.parametrize(
    "load,said",
    [("raise ValueError('no weights')", "no weights"), ("os._exit(3)", "code 3")],
    ids=["raises", "exits"],
)
def test_a_model_that_cannot_be_loaded_fails_with_the_loaders_sentence(
    ada: Person, engine: EngineProcess, load: str, said: str
) -> None:
    deploy(ada, a_quick_version(ada, load=load))
    work_until(lambda: state(ada) == "Failed")
    assert said in endpoint(ada)["reason"]
    assert ask(ada).json()["detail"] == endpoint(ada)["reason"]
    work_until_idle()
    until(lambda: not engine.client.services(), 15)


def test_a_model_that_never_becomes_ready_fails_at_its_deadline(
    ada: Person, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "engine_for", lambda name: Hurried(engine.url, TOKEN))
    deploy(ada, a_quick_version(ada, load="time.sleep(60)"))
    work_until(lambda: state(ada) == "Failed")
    assert endpoint(ada)["reason"] == "The model did not become ready within 2 s; see the logs."
    work_until_idle()
    until(lambda: not engine.client.services(), 15)


class Hurried(LocalEngine):
    """The engine, with two seconds for each model."""

    def observe(self, service_id: str) -> Service | None:
        found = super().observe(service_id)
        return found and replace(found, start_seconds=2)


def test_a_model_may_take_as_long_to_load_as_the_engine_lets_it(
    ada: Person, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "engine_for", lambda name: Patient(engine.url, TOKEN))
    deploy(ada, a_quick_version(ada, load="time.sleep(3)"))
    work_until(engine.living)
    DeploymentRevision.objects.update(started_at=timezone.now() - timedelta(minutes=19))
    reconcile.reconcile(Deployment.objects.get().pk)
    assert state(ada) == "Deploying"
    work_until(lambda: state(ada) == "Active")


class Patient(LocalEngine):
    """An engine whose SERVING_LOAD_TIMEOUT is 20 minutes."""

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        status, answer = super()._call(method, path, body)
        return status, answer | {"load_seconds": 1200} if "load_seconds" in answer else answer


class Installing(LocalEngine):
    """The engine, while it installs the packages of all that it starts."""

    until_now = True
    longest_preparation: timedelta | None = None

    def observe(self, service_id: str) -> Service | None:
        found = super().observe(service_id)
        if found is None or not self.until_now:
            return found
        says = "Its packages are being installed."
        return replace(found, state=ServiceState.STARTING, reason=says, preparing=True)


def test_a_model_whose_packages_are_being_installed_has_its_time_to_load_after_that(
    ada: Person, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Installing(engine.url, TOKEN)
    monkeypatch.setattr(reconcile, "engine_for", lambda name: slow)
    deploy(ada, a_quick_version(ada))
    work_until(lambda: endpoint(ada)["reason"] == "Its packages are being installed.")
    for _ in range(3):
        DeploymentRevision.objects.update(started_at=timezone.now() - timedelta(minutes=8))
        reconcile.reconcile(Deployment.objects.get().pk)
        assert state(ada) == "Deploying"
    slow.until_now = False
    work_until(lambda: state(ada) == "Active")
    assert endpoint(ada)["reason"] == ""
    assert events(ada).count("Its packages are being installed.") == 1


def installs_again_after_a_loss(
    ada: Person, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> Installing:
    """The engine, which puts the packages of an Active endpoint anew into place."""
    deployed(ada, a_quick_version(ada))
    slow = Installing(engine.url, TOKEN)
    monkeypatch.setattr(reconcile, "engine_for", lambda name: slow)
    look_soon(Deployment.objects.get())
    work_until(lambda: endpoint(ada)["reason"] == "Its packages are being installed.")
    return slow


def began(ago: timedelta) -> None:
    """As if the revision had been lost, and its time to become ready put off last, so long ago."""
    DeploymentRevision.objects.update(started_at=timezone.now() - ago, awaited_at=timezone.now() - ago)


def test_what_is_prepared_anew_after_a_loss_has_as_long_as_the_first_time(
    ada: Person, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = installs_again_after_a_loss(ada, engine, monkeypatch)
    slow.longest_preparation = timedelta(minutes=30)
    began(timedelta(minutes=29))
    for _ in range(2):
        reconcile.reconcile(Deployment.objects.get().pk)
        assert state(ada) == "Degraded"
    slow.until_now = False
    work_until(lambda: state(ada) == "Active")
    assert events(ada)[-1] == "Version 1 answers again."


def test_what_is_prepared_for_longer_than_it_may_fails_and_says_so(
    ada: Person, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = installs_again_after_a_loss(ada, engine, monkeypatch)
    slow.longest_preparation = timedelta(minutes=30)
    began(timedelta(minutes=31))
    work_until(lambda: state(ada) == "Failed")
    assert endpoint(ada)["reason"] == (
        "It was not ready after 30 minutes, the most that it may take to prepare it. "
        "Its packages are being installed."
    )


def test_what_fails_again_and_again_after_a_loss_is_given_up_although_it_is_prepared_each_time(
    ada: Person, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = installs_again_after_a_loss(ada, engine, monkeypatch)
    DeploymentRevision.objects.update(awaited_at=timezone.now() - timedelta(minutes=4))
    reconcile.reconcile(Deployment.objects.get().pk)
    assert state(ada) == "Degraded", "it goes on"
    said = "The packages of requirements.txt could not be installed: no answer from the index."
    fails = Service("", ServiceState.FAILED, "", "", said)
    monkeypatch.setattr(slow, "observe", lambda service_id: fails)
    reconcile.reconcile(Deployment.objects.get().pk)
    assert (state(ada), endpoint(ada)["reason"]) == ("Failed", said)


def test_undeploy_during_deploying_leaves_nothing_running(ada: Person, engine: EngineProcess) -> None:
    deploy(ada, a_quick_version(ada))
    work_until(engine.living)
    assert state(ada) == "Deploying"
    ada.api.post(f"{ada.base}/deployments/iris-api/undeploy")
    work_until(lambda: state(ada) == "Inactive")
    work_until_idle()
    assert not engine.client.services()


def test_a_worker_that_planned_before_an_undeploy_starts_nothing_that_stays(
    ada: Person, engine: EngineProcess
) -> None:
    deploy(ada, a_quick_version(ada))
    stale = Deployment.objects.with_details().get()
    ada.api.post(f"{ada.base}/deployments/iris-api/undeploy")
    work_until(lambda: state(ada) == "Inactive")
    reconcile._step(stale, engine.client)
    look_after_endpoints()
    until(lambda: not engine.client.services(), 15)
    assert state(ada) == "Inactive"


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_what_a_killed_worker_was_doing_is_done_by_the_next(
    ada: Person, engine: EngineProcess, steps: int
) -> None:
    deploy(ada, a_quick_version(ada))
    deployment = Deployment.objects.get()
    row = jobs.claim(Job.objects.get(name="deployments.reconcile").pk)
    assert row is not None
    for _ in range(steps):
        reconcile.reconcile(deployment.pk)
    Job.objects.filter(pk=row.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert jobs.reap() == 1
    work_until(lambda: state(ada) == "Active")
    work_until_idle()
    assert len(engine.living()) == 1


def test_two_workers_at_one_endpoint_do_not_step_on_each_other(ada: Person, engine: EngineProcess) -> None:
    deploy(ada, a_quick_version(ada))
    pk = Deployment.objects.get().pk

    def work() -> None:
        try:
            until(lambda: reconcile.reconcile(pk) is None)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work) for _ in range(3)]
        work_until(lambda: state(ada) == "Active")
        for done in working:
            done.result()
    for once in ("is being started", "answers requests now"):
        assert events(ada).count(f"Version 1 {once} (revision 1).") == 1
    assert len(engine.living()) == 1


def test_two_people_who_deploy_one_new_name_at_once_both_get_a_true_answer(ada: Person) -> None:
    version, other = a_quick_version(ada), a_quick_version(ada, model_name="roses")
    people = [make_person(ada.project) for _ in range(6)]

    def call(number: int) -> Any:
        try:
            return deploy(people[number], other if number == 5 else version)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(call, range(6)))
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 201, 409} and statuses.count(201) == 1
    made = [answer.json()["revision"] for answer in answers if answer.status_code != 409]
    assert endpoint(ada)["revision"] == len(made)
    work_until(lambda: state(ada) == "Active")


def test_a_service_that_nobody_wants_is_stopped(ada: Person, engine: EngineProcess, tmp_path: Any) -> None:
    deployed(ada, a_quick_version(ada))
    folder = next((engine.folder / "models").iterdir())
    engine.client.apply(ServiceSpec("svc-nobodys", folder, 1, "x", "x", 1))
    look_after_endpoints()
    until(lambda: engine.client.observe("svc-nobodys") is None, 15)
    assert ask(ada).status_code == 200


def test_a_deploy_over_one_that_is_under_way_leaves_one_service(ada: Person, engine: EngineProcess) -> None:
    deploy(ada, a_quick_version(ada))
    work_until(engine.living)
    deploy(ada, a_quick_version(ada))
    work_until(lambda: state(ada) == "Active")
    work_until_idle()
    assert ask(ada).json()["model_version"] == 2
    assert len(engine.living()) == 1
    assert [r.state for r in DeploymentRevision.objects.order_by("number")] == ["Retired", "Active"]


def test_the_engines_client_says_in_a_sentence_what_is_wrong(engine: EngineProcess, tmp_path: Any) -> None:
    with pytest.raises(EngineAway, match="SERVING_ENGINE_URL"):
        LocalEngine("", "").services()
    with pytest.raises(EngineAway, match="SERVING_ENGINE_TOKEN"):
        LocalEngine(engine.url, "wrong").services()
    with pytest.raises(EngineAway, match="does not answer"):
        LocalEngine("http://127.0.0.1:9", "x").services()
    with pytest.raises(EngineRefused, match="model_dir"):
        engine.client.apply(ServiceSpec("svc-x", tmp_path / "missing", 1, "x", "x", 1))
    assert engine.client.observe("svc-none") is None
    assert engine.client.logs("svc-none", 10) == []
    engine.client.stop("svc-none")
