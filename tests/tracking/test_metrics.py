"""Logging and reading metrics through REST."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from common.errors import Conflict
from tests.factories import Person, make_person, make_project, send_json
from tracking import services
from tracking.histories import metric_history
from tracking.models import MetricChunk, Run, RunMetric

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture
def run(ann: Person) -> Run:
    return services.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")


def log(person: Person, run: Run, *series: object):
    return person.api.post(
        f"{person.base}/runs/{run.public_id}/metrics", {"series": list(series)}, format="json"
    )


def one(key: object = "loss", values: object = (1.0,), **more: object) -> dict[str, object]:
    return {"key": key, "values": values, **more}


def history(person: Person, run: Run, key: str = "loss", query: str = "") -> dict[str, Any]:
    answer = person.api.get(f"{person.base}/runs/{run.public_id}/metrics/{key}{query}")
    assert answer.status_code == 200, answer.json()
    return answer.json()


def summary(person: Person, run: Run, key: str = "loss") -> dict[str, Any]:
    return person.api.get(f"{person.base}/runs/{run.public_id}/metrics").json()["metrics"][key]


def test_points_come_back_as_they_went_in(ann: Person, run: Run) -> None:
    values = [0.1, 1e308, 5e-324, -0.0, 1 / 3, 2**53]
    stamps = [1_700_000_000_000 + n for n in range(6)]
    answer = log(ann, run, one(values=values, steps=[0, 1, 2, 3, 4, 5], timestamps=stamps))
    assert (answer.status_code, answer.json()) == (200, {"accepted": 6})
    assert history(ann, run) == {
        "key": "loss",
        "steps": [0, 1, 2, 3, 4, 5],
        "values": values,
        "timestamps": stamps,
        "thinned": False,
        "total": 6,
    }
    assert math.copysign(1, history(ann, run)["values"][3]) == -1


def test_nan_and_infinities_are_values_and_the_extremes_leave_nan_out(ann: Person, run: Run) -> None:
    log(
        ann,
        run,
        one(values=["NaN", 2, "NaN"]),
        one("all_nan", ["NaN", "NaN"]),
        one("wide", ["-Infinity", "Infinity"]),
    )
    assert history(ann, run)["values"] == ["NaN", 2.0, "NaN"]
    assert summary(ann, run) == {"last": "NaN", "last_step": 2, "min": 2.0, "max": 2.0, "count": 3}
    assert summary(ann, run, "all_nan") == {
        "last": "NaN",
        "last_step": 1,
        "min": None,
        "max": None,
        "count": 2,
    }
    assert summary(ann, run, "wide")["min"] == "-Infinity"
    log(ann, run, one("all_nan", [5]))
    assert summary(ann, run, "all_nan") == {"last": 5.0, "last_step": 2, "min": 5.0, "max": 5.0, "count": 3}
    whole = ann.api.get(f"{ann.base}/runs/{run.public_id}").json()
    assert whole["metrics"] == {"loss": "NaN", "all_nan": 5.0, "wide": "Infinity"}
    assert whole["metric_summary"]["wide"]["max"] == "Infinity"


def test_the_last_value_is_the_one_of_the_highest_step_then_the_latest_time(ann: Person, run: Run) -> None:
    log(ann, run, one(values=[1, 2, 3], steps=[10, 30, 20]))
    assert (summary(ann, run)["last"], summary(ann, run)["last_step"]) == (2.0, 30)
    log(ann, run, one(values=[9], steps=[5]))
    assert (summary(ann, run)["last"], summary(ann, run)["count"]) == (2.0, 4)
    log(ann, run, one(values=[7, 8], steps=[40, 40], timestamps=[2000, 1000]))
    assert (summary(ann, run)["last"], summary(ann, run)["last_step"]) == (7.0, 40)
    log(ann, run, one(values=[6], steps=[40], timestamps=[1500]))
    assert summary(ann, run)["last"] == 7.0
    log(ann, run, one(values=[5], steps=[40], timestamps=[2000]))
    assert summary(ann, run) == {"last": 5.0, "last_step": 40, "min": 1.0, "max": 9.0, "count": 8}
    assert history(ann, run)["steps"] == [5, 10, 20, 30, 40, 40, 40, 40]
    assert history(ann, run)["values"] == [9.0, 1.0, 3.0, 2.0, 8.0, 6.0, 7.0, 5.0]


def test_points_without_steps_follow_the_highest_step_and_are_of_now(ann: Person, run: Run) -> None:
    before = time.time_ns() // 1_000_000
    log(ann, run, one(values=[1, 2]))
    log(ann, run, one(values=[3]))
    log(ann, run, one(values=[4], steps=[10]))
    log(ann, run, one(values=[5, 6]))
    found = history(ann, run)
    assert (found["steps"], found["values"]) == ([0, 1, 2, 10, 11, 12], [1, 2, 3, 4, 5, 6])
    assert before <= min(found["timestamps"]) <= max(found["timestamps"]) <= time.time_ns() // 1_000_000
    assert (summary(ann, run)["last"], summary(ann, run)["last_step"]) == (6.0, 12)


def test_one_key_twice_in_a_batch_is_one_series(ann: Person, run: Run) -> None:
    assert log(ann, run, one(values=[1]), one("acc", [5]), one(values=[2, 3])).json() == {"accepted": 4}
    assert history(ann, run)["values"] == [1.0, 2.0, 3.0]
    mixed = log(ann, run, one(values=[1]), one(values=[2], steps=[1]))
    assert (mixed.status_code, "series.1.steps" in mixed.json()["errors"]) == (400, True)


def test_keys_may_have_slashes_and_any_letters(ann: Person, run: Run) -> None:
    for key in ("train/loss", "précision", "a b", '{x},"y"\'\\', "x" * 250):
        assert log(ann, run, one(key)).status_code == 200
        assert metric_history(run, key).numbers == [1.0]
    assert history(ann, run, "train/loss")["key"] == "train/loss"


def test_a_part_of_the_history_is_read_by_steps(ann: Person, run: Run) -> None:
    for start in (0, 50):
        log(ann, run, one(values=list(range(start, start + 50)), steps=list(range(start, start + 50))))
    assert history(ann, run, query="?from_step=45&to_step=54")["steps"] == list(range(45, 55))
    assert history(ann, run, query="?from_step=98")["steps"] == [98, 99]
    assert history(ann, run, query="?to_step=-1")["steps"] == []
    for query in ("from_step=x", "to_step=1.5", "from_step=", "to_step=99999999999999999999"):
        answer = ann.api.get(f"{ann.base}/runs/{run.public_id}/metrics/loss?{query}")
        assert (answer.status_code, query.partition("=")[0] in answer.json()["errors"]) == (400, True)


def test_a_metric_that_was_never_logged_is_not_found(ann: Person, run: Run) -> None:
    for key in ("nothing", "%00", "x" * 300, "%ed%a0%80"):
        assert ann.api.get(f"{ann.base}/runs/{run.public_id}/metrics/{key}").status_code in (400, 404)


@pytest.mark.parametrize(
    ("series", "field"),
    [
        (None, "series"),
        ({}, "series"),
        ("x", "series"),
        ([1], "series.0"),
        ([one(None)], "series.0.key"),
        ([one("")], "series.0.key"),
        ([one("x" * 251)], "series.0.key"),
        ([one("a\0b")], "series.0.key"),
        ([one("\ud800")], "series.0.key"),
        ([one(), one(5)], "series.1.key"),
        ([{"key": "a"}], "series.0.values"),
        ([one(values=[])], "series.0.values"),
        ([one(values="abc")], "series.0.values"),
        ([one(values={"a": 1})], "series.0.values"),
        ([one(values=[1, None])], "series.0.values.1"),
        ([one(values=[1, "nan"])], "series.0.values.1"),
        ([one(values=[1, True])], "series.0.values.1"),
        ([one(values=[[1]])], "series.0.values.0"),
        ([one(values=[10**400])], "series.0.values.0"),
        ([one(steps=[])], "series.0.steps"),
        ([one(steps=[1, 2])], "series.0.steps"),
        ([one(steps=1)], "series.0.steps"),
        ([one(steps=["1"])], "series.0.steps.0"),
        ([one(steps=[1.0])], "series.0.steps.0"),
        ([one(steps=[True])], "series.0.steps.0"),
        ([one(steps=[2**63])], "series.0.steps.0"),
        ([one(steps=[-(2**63) - 1])], "series.0.steps.0"),
        ([one(timestamps=[-1])], "series.0.timestamps.0"),
        ([one(timestamps=[10**15])], "series.0.timestamps.0"),
        ([one(timestamps=[None])], "series.0.timestamps.0"),
        ([one()] * 10_001, "series"),
        ([one(values=[0] * 100_001)], "series"),
    ],
)
def test_a_bad_batch_is_refused_by_field_and_nothing_is_stored(
    ann: Person, run: Run, series: object, field: str
) -> None:
    url = f"{ann.base}/runs/{run.public_id}/metrics"
    answer = send_json(ann, "post", url, {"series": series})
    assert answer.status_code == 400
    assert field in answer.json()["errors"], answer.json()
    assert not RunMetric.objects.exists()


def test_a_run_has_no_more_metrics_than_a_list_can_carry(ann: Person, run: Run) -> None:
    assert log(ann, run, *(one(f"k{n}") for n in range(10_000))).status_code == 200
    assert log(ann, run, one("k1"), one("k2")).status_code == 200
    answer = log(ann, run, one("k1"), one("more"))
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_metrics")
    assert summary(ann, run, "k1")["count"] == 2


def test_the_furthest_steps_and_times_are_kept(ann: Person, run: Run) -> None:
    edges = [-(2**62), 2**62]
    assert (
        log(ann, run, one(values=[1, 2], steps=edges, timestamps=[0, 253_402_300_799_999])).status_code == 200
    )
    assert history(ann, run)["steps"] == edges
    assert log(ann, run, one(values=[3])).status_code == 200
    assert summary(ann, run)["last_step"] == 2**62 + 1


def test_a_batch_costs_the_same_number_of_statements_for_1_and_for_300_keys(
    ann: Person, run: Run, django_assert_num_queries
) -> None:
    actor = ann.actor
    actor.role_in(ann.project)
    for count in (1, 300):
        with django_assert_num_queries(5):
            services.log_metrics(
                actor=actor,
                project=ann.project,
                run_id=run.public_id,
                series=[one(f"k{n}", [1.0, 2.0], steps=[0, 1]) for n in range(count)],
            )
    assert RunMetric.objects.count() == 300
    assert MetricChunk.objects.count() == 301


@pytest.mark.django_db(transaction=True)
def test_batches_logged_at_once_add_up(ann: Person, run: Run) -> None:
    def batch(number: int) -> int:
        try:
            keys = [f"k{n}" for n in range(20)]
            keys = keys if number % 2 else keys[::-1]
            steps = [number * 2, number * 2 + 1]
            return log(ann, run, *[one(key, [number, -number], steps=steps) for key in keys]).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(batch, range(24))) == {200}
    found = summary(ann, run, "k7")
    assert found == {"last": -23.0, "last_step": 47, "min": -23.0, "max": 23.0, "count": 48}
    assert history(ann, run, "k7")["steps"] == list(range(48))


@pytest.mark.django_db(transaction=True)
def test_no_point_gets_in_after_the_end(ann: Person, run: Run) -> None:
    """What was accepted was stored before the end: the count at the end is the count for good."""
    counts: list[int] = []

    def work(number: int) -> int:
        try:
            if number == 10:
                services.end_run(
                    actor=ann.actor, project=ann.project, run_id=run.public_id, status="Completed"
                )
                counts.append(sum(RunMetric.objects.values_list("count", flat=True)))
                return 0
            services.log_metrics(actor=ann.actor, project=ann.project, run_id=run.public_id, series=[one()])
            return 1
        except Conflict:
            return 0
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        accepted = sum(pool.map(work, range(40)))
    assert counts == [accepted] == [RunMetric.objects.get().count]


@pytest.mark.django_db(transaction=True)
def test_batches_with_and_without_steps_logged_at_once_never_stop_each_other(ann: Person, run: Run) -> None:
    def batch(number: int) -> int:
        try:
            with_steps, without = ("a", "z") if number % 2 else ("z", "a")
            return log(ann, run, one(with_steps, [1], steps=[number]), one(without, [1])).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(batch, range(40))) == {200}
    assert summary(ann, run, "a")["count"] == summary(ann, run, "z")["count"] == 40
