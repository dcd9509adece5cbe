"""Alerts: a condition on a metric, which fires once, by the first value that meets it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role
from accounts.models import AuditEntry
from tests.factories import Person, make_person, make_project, make_run, send_json
from tracking import services
from tracking.models import Run, RunAlert

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture
def run(ann: Person) -> Run:
    return services.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")


def url(run: Run) -> str:
    return f"/api/v1/projects/{run.project.slug}/runs/{run.public_id}"


def create(person: Person, run: Run, condition: object = "loss > 2", **more: object):
    return send_json(person, "post", f"{url(run)}/alerts", {"condition": condition, **more})


def alerts(person: Person, run: Run) -> list[dict[str, Any]]:
    answer = person.api.get(f"{url(run)}/alerts")
    assert answer.status_code == 200, answer.json()
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def log(person: Person, run: Run, *values: object, key: str = "loss", **more: object) -> None:
    series = [{"key": key, "values": list(values), **more}]
    answer = send_json(person, "post", f"{url(run)}/metrics", {"series": series})
    assert answer.status_code == 200, answer.json()


def test_an_alert_fires_by_the_first_value_that_meets_it(ann: Person, run: Run) -> None:
    made = create(ann, run, "loss > 2.0", message="It diverges.")
    assert made.status_code == 201, made.json()
    assert {**made.json(), "id": "", "created_at": ""} == {
        "id": "",
        "condition": "loss > 2.0",
        "metric": "loss",
        "message": "It diverges.",
        "created_by": "ann",
        "created_at": "",
        "fired_at": None,
        "fired_value": None,
        "fired_step": None,
    }
    log(ann, run, 1, 2, key="loss")
    log(ann, run, 9, key="other")
    assert alerts(ann, run)[0]["fired_at"] is None
    log(ann, run, 0, 2.5, 3, steps=[10, 20, 30])
    fired = alerts(ann, run)[0]
    assert (fired["fired_value"], fired["fired_step"]) == (2.5, 20)
    assert fired["fired_at"]
    log(ann, run, 100)
    assert alerts(ann, run) == [fired]


def test_the_system_is_who_fires(ann: Person, run: Run) -> None:
    create(ann, run, "loss > 2", message="It diverges.")
    log(ann, run, 3)
    entry = AuditEntry.objects.get(verb="fire_alert")
    assert (entry.actor.username, entry.object_id, entry.project) == ("system", run.public_id, ann.project)
    assert entry.after == {"condition": "loss > 2", "message": "It diverges.", "value": 3.0, "step": 0}
    assert AuditEntry.objects.get(verb="create_run_alert").actor.username == "ann"


def test_points_without_steps_have_the_step_they_are_given(ann: Person, run: Run) -> None:
    create(ann, run)
    log(ann, run, 0, 0, 0)
    log(ann, run, 1, 5)
    assert (alerts(ann, run)[0]["fired_value"], alerts(ann, run)[0]["fired_step"]) == (5.0, 4)


def test_what_was_logged_before_does_not_count(ann: Person, run: Run) -> None:
    log(ann, run, 5)
    create(ann, run)
    log(ann, run, 1)
    assert alerts(ann, run)[0]["fired_at"] is None


@pytest.mark.parametrize(
    ("condition", "value", "fires"),
    [
        ("loss > 2", 2, False),
        ("loss >= 2", 2, True),
        ("loss < 2", 1.9, True),
        ("loss <= -1e3", -999, False),
        ("loss<=-1e3", -1000, True),
        ("loss = 2", 2, True),
        ("loss == 2.0", 2, True),
        ("loss != 2", 2, False),
        ("loss != 2", 3, True),
        ("loss > 2", "Infinity", True),
        ("loss > 2", "NaN", False),
        ("loss < 2", "NaN", False),
        ("loss == NaN", "NaN", True),
        ("loss == NaN", 1, False),
        ("loss != NaN", 1, True),
        ("loss == -Infinity", "-Infinity", True),
        ("loss < Infinity", 1, True),
        ("  loss>.5\n", 1, True),
    ],
)
def test_conditions_are_what_they_look_like(
    ann: Person, run: Run, condition: str, value: object, fires: bool
) -> None:
    assert create(ann, run, condition).status_code == 201
    log(ann, run, value)
    fired = alerts(ann, run)[0]
    assert fired["fired_value"] == (value if fires else None)


@pytest.mark.parametrize("key", ["val loss", "a>b", "eval/loss-1.x", "größe", "a=1"])
def test_any_key_can_be_named_in_backticks(ann: Person, run: Run, key: str) -> None:
    assert create(ann, run, f"`{key}` > 2").json()["metric"] == key
    log(ann, run, 3, key=key)
    assert alerts(ann, run)[0]["fired_value"] == 3.0


@pytest.mark.parametrize(
    "condition",
    [
        *("", " ", "loss", "loss >", "> 2", "loss > x", "loss >> 2", "loss > 2 3", "a b > 2", "loss > 0x2"),
        *("loss > 1 and f1 < 2", "`loss > 2", "`` > 2", "` ` > 2", "loss > NaN", "loss <= NaN", "loss ~ 2"),
        *("loss > \u0662", "loss > 2\0", "\ud800 > 2", "x" * 251 + " > 2", "x" * 500, "loss > " + "9" * 500),
        *(None, 7, [], {}, ["loss > 2"]),
    ],
    ids=lambda text: str(text)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_a_wrong_condition_is_refused_by_name(ann: Person, run: Run, condition: object) -> None:
    answer = create(ann, run, condition)
    assert (answer.status_code, "condition" in answer.json().get("errors", {})) == (400, True), answer.json()
    assert not RunAlert.objects.exists()


@pytest.mark.parametrize("message", ["x" * 2001, "a\0b", "\ud800", None, {}])
def test_a_bad_message_is_refused_by_name(ann: Person, run: Run, message: object) -> None:
    answer = create(ann, run, message=message)
    assert (answer.status_code, "message" in answer.json()["errors"]) == (400, True)


def test_the_same_alert_again_is_one_while_it_waits(ann: Person, run: Run) -> None:
    first = create(ann, run).json()
    assert create(ann, run).json() == first
    create(ann, run, message="Another message.")
    log(ann, run, 3)
    again = create(ann, run).json()
    assert (again["id"] != first["id"], again["fired_at"]) == (True, None)
    assert len(alerts(ann, run)) == 3
    log(ann, run, 4)
    assert [alert["fired_value"] for alert in alerts(ann, run)] == [3.0, 3.0, 4.0]


def test_a_run_has_at_most_a_hundred(ann: Person, run: Run) -> None:
    for number in range(100):
        assert create(ann, run, f"loss > {number}").status_code == 201
    refused = create(ann, run, "loss > 100")
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_alerts")


def test_an_ended_run_is_not_watched(ann: Person) -> None:
    done = make_run(ann)
    refused = create(ann, done)
    assert (refused.status_code, refused.json()["code"]) == (409, "run_ended")


def test_a_deleted_alert_fires_no_more(ann: Person, run: Run) -> None:
    first, second = create(ann, run, "loss > 2").json(), create(ann, run, "loss > 3").json()
    assert ann.api.delete(f"{url(run)}/alerts/{first['id']}").status_code == 204
    missing = ann.api.delete(f"{url(run)}/alerts/{first['id']}")
    assert (missing.status_code, missing.json()["code"]) == (404, "alert_not_found")
    log(ann, run, 5)
    assert [alert["id"] for alert in alerts(ann, run)] == [second["id"]]
    assert AuditEntry.objects.filter(verb="fire_alert").count() == 1
    assert AuditEntry.objects.get(verb="delete_run_alert").before == {"condition": "loss > 2", "message": ""}


def test_an_alert_is_of_one_run(ann: Person, run: Run) -> None:
    other = services.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    alert = create(ann, run).json()
    assert ann.api.delete(f"{url(other)}/alerts/{alert['id']}").status_code == 404
    log(ann, other, 5)
    assert alerts(ann, run)[0]["fired_at"] is None
    assert alerts(ann, other) == []


def test_who_may_not_write_changes_no_alert(ann: Person, run: Run) -> None:
    alert = create(ann, run).json()
    viewer, stranger = make_person(ann.project, Role.VIEWER), make_person(make_project("beta"))
    for person, read, write in ((viewer, 200, 403), (stranger, 404, 404)):
        assert person.api.get(f"{url(run)}/alerts").status_code == read
        assert create(person, run).status_code == write
        assert person.api.delete(f"{url(run)}/alerts/{alert['id']}").status_code == write
    assert len(alerts(ann, run)) == 1


def queries_of(work: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        work()
    return [query["sql"] for query in captured]


def test_a_batch_costs_one_query_more_with_alerts_and_none_without(ann: Person, run: Run) -> None:
    log(ann, run, 1)
    without = queries_of(lambda: log(ann, run, 1))
    assert not [query for query in without if "runalert" in query]
    create(ann, run)
    assert len(queries_of(lambda: log(ann, run, 1))) == len(without) + 1
    ann.api.delete(f"{url(run)}/alerts/{alerts(ann, run)[0]['id']}")
    assert len(queries_of(lambda: log(ann, run, 1))) == len(without)


def test_many_alerts_are_read_in_as_many_queries_as_one(ann: Person, run: Run) -> None:
    create(ann, run)
    for_one = queries_of(lambda: alerts(ann, run))
    for number in range(20):
        create(ann, run, f"loss > 1{number}")
    assert len(queries_of(lambda: alerts(ann, run))) == len(for_one)


@pytest.mark.django_db(transaction=True)
def test_of_several_batches_at_once_one_fires_it(ann: Person, run: Run) -> None:
    create(ann, run)

    def one(number: int) -> None:
        try:
            log(ann, run, 3 + number, steps=[number])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(16)))
    fired = alerts(ann, run)[0]
    assert fired["fired_value"] == 3 + fired["fired_step"]
    assert AuditEntry.objects.filter(verb="fire_alert").count() == 1


@pytest.mark.django_db(transaction=True)
def test_alerts_made_and_deleted_while_batches_arrive_never_stop_them(ann: Person, run: Run) -> None:
    def one(number: int) -> int:
        try:
            if number % 2:
                alert = create(ann, run, f"loss > {number}").json()
                return int(ann.api.delete(f"{url(run)}/alerts/{alert['id']}").status_code)
            log(ann, run, number)
            return 204
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(40))) == {204}
    run.refresh_from_db()
    assert (run.has_alerts, alerts(ann, run)) == (False, [])
