"""Ending somebody's run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from accounts.choices import Role
from accounts.models import AuditEntry
from tests.factories import Person, make_person, make_project, make_run, send_json
from tracking import services
from tracking.models import Run, RunMetric

pytestmark = pytest.mark.django_db
POINTS = {"series": [{"key": "loss", "values": [0.5]}]}


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture
def run(ann: Person) -> Run:
    return services.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")


def post(person: Person, run: Run, what: str, body: object):
    return send_json(person, "post", f"/api/v1/projects/alpha/runs/{run.public_id}/{what}", body)


def test_a_colleague_ends_a_run_as_killed_and_says_why(ann: Person, run: Run) -> None:
    bob = make_person(ann.project, Role.CONTRIBUTOR, username="bob")
    answer = post(bob, run, "kill", {"reason": "It costs too much."})
    assert answer.status_code == 200, answer.json()
    assert (answer.json()["status"], answer.json()["error"]) == (
        "Killed",
        "Killed by bob: It costs too much.",
    )
    assert answer.json()["ended_at"]
    entry = AuditEntry.objects.get(verb="kill_run")
    assert (entry.actor.username, entry.object_id, entry.before) == (
        "bob",
        run.public_id,
        {"status": "Running"},
    )
    assert entry.after == {"status": "Killed", "error": "Killed by bob: It costs too much."}


def test_a_killed_run_takes_nothing_more_until_it_is_resumed(ann: Person, run: Run) -> None:
    post(ann, run, "kill", {})
    refused = post(ann, run, "metrics", POINTS)
    assert (refused.status_code, refused.json()["code"]) == (409, "run_ended")
    assert "Killed" in refused.json()["detail"]
    assert not RunMetric.objects.exists()
    services.resume_run(actor=ann.actor, project=ann.project, run_id=run.public_id)
    assert post(ann, run, "metrics", POINTS).status_code == 200


def test_killing_again_keeps_the_first_reason(ann: Person, run: Run) -> None:
    post(ann, run, "kill", {"reason": "one"})
    again = post(ann, run, "kill", {"reason": "two"})
    assert (again.status_code, again.json()["error"]) == (200, "Killed by ann: one")
    assert AuditEntry.objects.filter(verb="kill_run").count() == 1


def test_a_run_that_ended_by_itself_is_not_killed(ann: Person) -> None:
    done = make_run(ann)
    answer = post(ann, done, "kill", {"reason": "late"})
    assert (answer.status_code, answer.json()["code"]) == (409, "run_ended")
    done.refresh_from_db()
    assert done.status == "Completed"


@pytest.mark.parametrize("reason", ["x" * 2001, "a\0b", "\ud800", None, {}, []])
def test_a_bad_reason_is_refused_by_name(ann: Person, run: Run, reason: object) -> None:
    answer = post(ann, run, "kill", {"reason": reason})
    assert (answer.status_code, "reason" in answer.json()["errors"]) == (400, True)
    run.refresh_from_db()
    assert run.status == "Running"


def test_who_may_not_write_kills_nothing(ann: Person, run: Run) -> None:
    assert post(make_person(ann.project, Role.VIEWER), run, "kill", {}).status_code == 403
    assert post(make_person(make_project("beta")), run, "kill", {}).status_code == 404
    run.refresh_from_db()
    assert run.status == "Running"


@pytest.mark.django_db(transaction=True)
def test_of_several_kills_at_once_one_counts(ann: Person, run: Run) -> None:
    def kill(number: int) -> str:
        try:
            return str(post(ann, run, "kill", {"reason": str(number)}).json()["error"])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(kill, range(8)))) == 1
    assert AuditEntry.objects.filter(verb="kill_run").count() == 1
