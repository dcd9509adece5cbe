"""Reading series back through REST: thinned, by range, and many in one call."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import Person, make_person, make_project
from tracking import services
from tracking.models import MetricChunk, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def make_run(person: Person, **series: object) -> Run:
    """A run with these series: values, or {"values", "steps", "timestamps"}."""
    run = services.start_run(actor=person.actor, project=person.project, experiment_id="exp")
    for key, given in series.items():
        log(person, run, key, **(given if isinstance(given, dict) else {"values": given}))
    return run


def log(person: Person, run: Run, key: str, **columns: Any) -> None:
    services.log_metrics(
        actor=person.actor, project=person.project, run_id=run.public_id, series=[{"key": key, **columns}]
    )


def history(person: Person, run: Run, key: str = "loss", **query: object) -> dict[str, Any]:
    answer = person.api.get(f"{person.base}/runs/{run.public_id}/metrics/{key}", query)
    assert answer.status_code == 200, answer.json()
    return answer.json()


def histories(person: Person, **query: object) -> Any:
    return person.api.get(f"{person.base}/metric-history", query)


def test_a_long_series_is_thinned_on_the_server_and_keeps_its_peaks(ann: Person) -> None:
    values = [1.0 / (n + 1) for n in range(5000)]
    values[1234], values[4321], values[2500] = 99.0, -math.inf, math.nan
    run = make_run(ann, loss={"values": values, "steps": list(range(5000))})
    found = history(ann, run, points=40)
    assert (found["thinned"], found["total"]) == (True, 5000)
    assert len(found["steps"]) == len(found["values"]) == len(found["timestamps"]) <= 40
    points = dict(zip(found["steps"], found["values"], strict=True))
    assert (points[0], points[1234], points[4321], points[4999]) == (1.0, 99.0, "-Infinity", values[-1])
    assert 2500 not in points


def test_a_range_is_thinned_after_it_was_cut_out(ann: Person) -> None:
    run = make_run(ann, loss={"values": [float(n) for n in range(1000)], "steps": list(range(1000))})
    found = history(ann, run, points=10, from_step=100, to_step=299)
    assert (found["steps"][0], found["steps"][-1], found["total"], found["thinned"]) == (100, 299, 200, True)
    whole = history(ann, run, points=200, from_step=100, to_step=299)
    assert (whole["steps"], whole["thinned"]) == (list(range(100, 300)), False)
    assert history(ann, run, from_step=5, to_step=4)["total"] == 0


def test_points_logged_in_any_order_come_back_by_step_and_time(ann: Person) -> None:
    points = [(step, time) for step in range(100) for time in (1, 2, 3)]
    shuffled = random.Random(7).sample(points, len(points))
    run = make_run(ann)
    for start in range(0, 300, 7):
        part = shuffled[start : start + 7]
        columns = {"steps": [step for step, _ in part], "timestamps": [time for _, time in part]}
        log(ann, run, "loss", values=[step * 10 + time for step, time in part], **columns)
    found = history(ann, run)
    assert list(zip(found["steps"], found["timestamps"], strict=True)) == points
    assert found["values"] == [step * 10 + time for step, time in points]


def test_a_series_of_very_many_small_batches_comes_back_in_one_piece(ann: Person) -> None:
    run = make_run(ann, loss=[0.0])
    metric = run.metrics.get()
    MetricChunk.objects.bulk_create(
        MetricChunk(metric=metric, steps=[n], timestamps=[n], values=[n / 10]) for n in range(1, 1000)
    )
    found = history(ann, run)
    assert found["steps"] == list(range(1000))
    assert found["values"] == [n / 10 for n in range(1000)]


@pytest.mark.parametrize("points", ["0", "1", "10001", "-5", "x", "", "1.5", "9" * 30])
def test_a_number_of_points_out_of_bounds_is_refused(ann: Person, points: str) -> None:
    run = make_run(ann, loss=[1.0])
    for answer in (
        ann.api.get(f"{ann.base}/runs/{run.public_id}/metrics/loss", {"points": points}),
        histories(ann, run=run.public_id, key="loss", points=points),
    ):
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["points"])


def test_a_parameter_that_means_nothing_is_refused(ann: Person) -> None:
    run = make_run(ann, loss=[1.0])
    for answer in (
        ann.api.get(f"{ann.base}/runs/{run.public_id}/metrics/loss", {"point": "5"}),
        histories(ann, run=run.public_id, key="loss", keys="loss"),
    ):
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) <= {"point", "keys"}


def test_many_series_come_in_the_order_asked_for_and_a_lacking_one_is_empty(ann: Person) -> None:
    first = make_run(ann, loss=[3.0, 2.0, math.nan], acc=[0.5])
    second = make_run(ann, loss=[1.0])
    found = histories(ann, run=[second.public_id, first.public_id], key=["acc", "loss", "acc"])
    assert found.status_code == 200
    series = [(each["run_id"], each["key"], each["values"]) for each in found.json()["series"]]
    assert series == [
        (second.public_id, "acc", []),
        (second.public_id, "loss", [1.0]),
        (first.public_id, "acc", [0.5]),
        (first.public_id, "loss", [3.0, 2.0, "NaN"]),
    ]
    lacking = found.json()["series"][0]
    assert (lacking["steps"], lacking["timestamps"], lacking["thinned"], lacking["total"]) == (
        [],
        [],
        False,
        0,
    )


def test_many_series_have_500_points_at_most_unless_told_otherwise(ann: Person) -> None:
    run = make_run(ann, loss=[float(n % 13) for n in range(3000)])
    usual = histories(ann, run=run.public_id, key="loss").json()["series"][0]
    assert (usual["thinned"], usual["total"], 400 < len(usual["steps"]) <= 500) == (True, 3000, True)
    whole = histories(ann, run=run.public_id, key="loss", points=3000, from_step=10).json()["series"][0]
    assert (whole["thinned"], whole["total"], whole["steps"]) == (False, 2990, list(range(10, 3000)))


def test_a_run_that_is_not_there_is_named(ann: Person) -> None:
    run, gone = make_run(ann, loss=[1.0]), make_run(ann, loss=[1.0])
    services.delete_run(actor=ann.actor, project=ann.project, run_id=gone.public_id)
    elsewhere = make_run(make_person(make_project("beta")), loss=[1.0])
    for missing in ("run-nothing0", gone.public_id, elsewhere.public_id):
        answer = histories(ann, run=[run.public_id, missing], key="loss")
        assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")
        assert missing in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"key": "loss"}, "run"),
        ({"run": "run-abcdef"}, "key"),
        ({"run": "a\0b", "key": "loss"}, "run"),
        ({"run": "run-abcdef", "key": "a\0b"}, "key"),
        ({"run": "run-abcdef", "key": ""}, "key"),
        ({"run": "run-abcdef", "key": "x" * 251}, "key"),
        ({"run": [f"run-{n:06}" for n in range(11)], "key": list("abcdefghij")}, "key"),
        ({"run": "run-abcdef", "key": "loss", "to_step": "x"}, "to_step"),
    ],
)
def test_a_bad_question_is_refused_by_its_field(ann: Person, query: dict[str, Any], field: str) -> None:
    answer = histories(ann, **query)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_strangers_find_nothing(ann: Person) -> None:
    run = make_run(ann, loss=[1.0])
    stranger = make_person(ann.project, role=None)
    assert histories(stranger, run=run.public_id, key="loss").status_code == 404
    # Even in the stranger's own project the run is not there.
    url = f"{ann.base}/metric-history"
    assert stranger.api.get(url, {"run": run.public_id, "key": "loss"}).status_code == 404


def test_all_points_of_a_hundred_series_come_by_one_statement(ann: Person) -> None:
    runs = [make_run(ann, **{f"k{n}": [1.0, 2.0] for n in range(10)}).public_id for _ in range(10)]
    counts = []
    ann.api.get("/api/v1/me")
    for some in (runs[:1], runs):
        with CaptureQueriesContext(connection) as queries:
            found = histories(ann, run=some, key=[f"k{n}" for n in range(10)])
        assert len(found.json()["series"]) == len(some) * 10
        chunks = [query for query in queries if "tracking_metricchunk" in query["sql"]]
        counts.append((len(queries), len(chunks)))
    assert counts[0] == counts[1]
    assert counts[0][1] == 1
