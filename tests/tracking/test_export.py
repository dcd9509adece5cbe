"""Metrics and runs as CSV and Parquet."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from typing import Any

import pytest
from django.test import Client

from tests.factories import Person, make_person, make_project, make_run
from tests.tracking.test_histories import log
from tracking import services
from tracking.models import Run

pytestmark = pytest.mark.django_db
HAS_ARROW = importlib.util.find_spec("pyarrow") is not None
needs_arrow = pytest.mark.skipif(not HAS_ARROW, reason="pyarrow is not installed")


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def start(person: Person, name: str = "", **tags: str) -> Run:
    return services.start_run(
        actor=person.actor, project=person.project, experiment_id="exp", name=name, tags=tags
    )


def ask(person: Person, address: str, **query: object) -> Any:
    return person.api.get(f"{person.base}/{address}", query)


def table(answer: Any) -> list[list[str]]:
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(answer.getvalue().decode(), newline="")))


def arrow_table(answer: Any) -> Any:
    from pyarrow import parquet

    assert answer.status_code == 200, answer.content
    return parquet.read_table(io.BytesIO(answer.getvalue()))


def test_all_points_of_a_run_are_rows_by_key_step_and_time(ann: Person) -> None:
    run = start(ann)
    log(ann, run, "loss", values=[0.1, math.nan], steps=[2, 1], timestamps=[20, 10])
    log(ann, run, "loss", values=[-math.inf, 1e300], steps=[1, -5], timestamps=[5, 0])
    log(ann, run, "a,b", values=[1 / 3], steps=[0], timestamps=[7])
    answer = ask(ann, f"runs/{run.public_id}/metrics/export", format="csv")
    assert answer["Content-Disposition"] == f'attachment; filename="{run.public_id}-metrics.csv"'
    assert table(answer) == [
        ["run_id", "key", "step", "timestamp", "value"],
        [run.public_id, "a,b", "0", "7", "0.3333333333333333"],
        [run.public_id, "loss", "-5", "0", "1e+300"],
        [run.public_id, "loss", "1", "5", "-Infinity"],
        [run.public_id, "loss", "1", "10", "NaN"],
        [run.public_id, "loss", "2", "20", "0.1"],
    ]


def test_only_the_chosen_metrics_are_written_and_an_unknown_one_is_named(ann: Person) -> None:
    run = make_run(ann, loss=1.0, acc=0.5, f1=0.25)
    address = f"runs/{run.public_id}/metrics/export"
    rows = table(ask(ann, address, format="csv", key=["loss", "acc"]))
    assert [row[1] for row in rows[1:]] == ["acc", "loss"]
    unknown = ask(ann, address, format="csv", key=["loss", "nothing"])
    assert (unknown.status_code, unknown.json()["code"]) == (404, "metric_not_found")
    assert "nothing" in unknown.json()["detail"]


def test_a_run_without_metrics_is_a_line_of_names(ann: Person) -> None:
    rows = table(ask(ann, f"runs/{start(ann).public_id}/metrics/export", format="csv"))
    assert rows == [["run_id", "key", "step", "timestamp", "value"]]


def test_a_metric_called_export_is_still_read_by_its_name(ann: Person) -> None:
    run = make_run(ann, export=0.5)
    assert ask(ann, f"runs/{run.public_id}/metrics/export").json()["values"] == [0.5]
    assert len(table(ask(ann, f"runs/{run.public_id}/metrics/export", format="csv"))) == 2


def test_texts_that_look_like_formulas_are_made_harmless_and_numbers_stay(ann: Person) -> None:
    run = start(ann, name="=HYPERLINK(1)", note="@SUM(A1)", good="a=b")
    where = {"actor": ann.actor, "project": ann.project, "run_id": run.public_id}
    services.log_params(**where, params={"shift": -1, "text": "-1", "plus": "+1", "rate": -0.5})
    log(ann, run, "-loss", values=[-0.5])
    header, row = table(ask(ann, "runs-export", format="csv"))
    cells = dict(zip(header, row, strict=True))
    assert cells["name"] == "'=HYPERLINK(1)"
    assert (cells["tags.note"], cells["tags.good"]) == ("'@SUM(A1)", "a=b")
    assert (cells["params.shift"], cells["params.rate"]) == ("-1", "-0.5")
    assert (cells["params.text"], cells["params.plus"]) == ("'-1", "'+1")
    assert cells["metrics.-loss"] == "-0.5"
    points = table(ask(ann, f"runs/{run.public_id}/metrics/export", format="csv"))
    assert (points[1][1], points[1][4]) == ("'-loss", "-0.5")


def test_runs_are_rows_with_a_column_for_each_key_that_any_of_them_has(ann: Person) -> None:
    first, second = start(ann, name="a", team="x"), start(ann, name='b "two"\nlines')
    where = {"actor": ann.actor, "project": ann.project}
    services.log_params(**where, run_id=first.public_id, params={"lr": 0.1, "deep": True, "none": None})
    log(ann, second, "acc", values=[0.5, math.nan])
    services.end_run(**where, run_id=second.public_id, status="Failed")
    header, *rows = table(ask(ann, "runs-export", format="csv", ordering="name"))
    assert header == [
        *("id", "name", "experiment", "status", "started_at", "ended_at"),
        *("params.deep", "params.lr", "params.none", "metrics.acc", "tags.team"),
    ]
    assert [row[:4] for row in rows] == [
        [first.public_id, "a", "exp", "Running"],
        [second.public_id, 'b "two"\nlines', "exp", "Failed"],
    ]
    assert rows[0][4].startswith("20") and rows[0][5] == "" and rows[1][5].startswith("20")
    assert [row[6:] for row in rows] == [["true", "0.1", "", "", "x"], ["", "", "", "NaN", ""]]


def test_the_filters_and_the_order_of_the_list_hold(ann: Person) -> None:
    good, bad = make_run(ann, acc=0.9), make_run(ann, acc=0.1)
    gone = make_run(ann, acc=0.95)
    services.delete_run(actor=ann.actor, project=ann.project, run_id=gone.public_id)
    make_run(make_person(make_project("beta")), acc=0.99)
    rows = table(ask(ann, "runs-export", format="csv", ordering="metrics.acc"))
    assert [row[0] for row in rows[1:]] == [bad.public_id, good.public_id]
    rows = table(ask(ann, "runs-export", format="csv", filter="metrics.acc > 0.5"))
    assert [row[0] for row in rows[1:]] == [good.public_id]
    assert len(table(ask(ann, "runs-export", format="csv", status="Running"))) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "format"),
        ({"format": "xlsx"}, "format"),
        ({"format": "\0"}, "format"),
        ({"format": "csv", "nothing": "1"}, "nothing"),
        ({"format": "csv", "cursor": "1"}, "cursor"),
        ({"format": "csv", "page_size": "1"}, "page_size"),
        ({"format": "csv", "status": "Lost"}, "status"),
        ({"format": "csv", "ordering": "size"}, "ordering"),
        ({"format": "csv", "filter": "metrics.acc >"}, "filter"),
    ],
)
def test_a_bad_question_is_refused_by_its_field(ann: Person, query: dict[str, str], field: str) -> None:
    answer = ask(ann, "runs-export", **query)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_metrics_are_refused_by_field_too(ann: Person) -> None:
    run = make_run(ann, loss=1.0)
    for query, field in (
        ({}, "format"),
        ({"format": "json"}, "format"),
        ({"format": "csv", "points": "5"}, "points"),
        ({"format": "csv", "key": "a\0"}, "key"),
    ):
        answer = ask(ann, f"runs/{run.public_id}/metrics/export", **query)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


@pytest.mark.skipif(HAS_ARROW, reason="pyarrow is installed")
def test_without_pyarrow_parquet_is_refused_and_says_what_to_do(ann: Person) -> None:
    run = make_run(ann, loss=1.0)
    for address in ("runs-export", f"runs/{run.public_id}/metrics/export"):
        answer = ask(ann, address, format="parquet")
        assert (answer.status_code, answer.json()["code"]) == (400, "parquet_unavailable")
        assert answer.json()["detail"].startswith("Parquet needs pyarrow")
        assert "requirements/parquet.txt" in answer.json()["hint"]


@needs_arrow
def test_points_as_parquet_have_types(ann: Person) -> None:
    run = start(ann)
    log(ann, run, "loss", values=[0.1, math.inf], steps=[2, 1], timestamps=[20, 10])
    log(ann, run, "=acc", values=[0.5])
    answer = ask(ann, f"runs/{run.public_id}/metrics/export", format="parquet", key="loss")
    assert answer["Content-Type"] == "application/vnd.apache.parquet"
    found = arrow_table(answer)
    assert list(map(str, found.schema.types)) == [
        *("string", "string", "int64"),
        *("timestamp[ms, tz=UTC]", "double"),
    ]
    assert found.column("value").to_pylist() == [math.inf, 0.1]
    assert [moment.timestamp() for moment in found.column("timestamp").to_pylist()] == [0.01, 0.02]
    whole = arrow_table(ask(ann, f"runs/{run.public_id}/metrics/export", format="parquet"))
    assert set(whole.column("key").to_pylist()) == {"loss", "=acc"}
    empty = arrow_table(ask(ann, f"runs/{start(ann).public_id}/metrics/export", format="parquet"))
    assert (empty.num_rows, empty.num_columns) == (0, 5)


@needs_arrow
def test_runs_as_parquet_have_numbers_where_all_values_are_numbers(ann: Person) -> None:
    first, second = start(ann, name="=a", team="x"), start(ann, name="b")
    where = {"actor": ann.actor, "project": ann.project}
    params = {"lr": 0.1, "mixed": 1, "none": None, "seed": 10**400, "deep": True}
    services.log_params(**where, run_id=first.public_id, params=params)
    services.log_params(**where, run_id=second.public_id, params={"lr": 3, "mixed": "auto"})
    log(ann, first, "acc", values=[0.5])
    rows = arrow_table(ask(ann, "runs-export", format="parquet", ordering="name")).to_pylist()
    assert [row["name"] for row in rows] == ["=a", "b"]
    assert [row["params.lr"] for row in rows] == [0.1, 3.0]
    assert [row["params.mixed"] for row in rows] == ["1", "auto"]
    assert [row["params.seed"] for row in rows] == [str(10**400), None]
    assert [row["params.deep"] for row in rows] == ["true", None]
    assert [row["metrics.acc"] for row in rows] == [0.5, None]
    assert [row["tags.team"] for row in rows] == ["x", None]
    assert rows[0]["started_at"] == Run.objects.get(pk=first.pk).started_at


@pytest.mark.django_db(transaction=True)
def test_a_stream_that_is_given_up_leaves_the_connection_usable(ann: Person) -> None:
    run = start(ann)
    log(ann, run, "loss", values=[0.5] * 50_000)
    log(ann, run, "loss", values=[0.5] * 50_000)
    answer = ask(ann, f"runs/{run.public_id}/metrics/export", format="csv")
    assert next(iter(answer)).startswith(b"run_id,key,step")
    answer.close()
    assert len(table(ask(ann, f"runs/{run.public_id}/metrics/export", format="csv"))) == 100_001


def test_strangers_and_the_unknown_find_nothing(ann: Person) -> None:
    run = make_run(ann, loss=1.0)
    stranger = make_person(ann.project, role=None)
    for address in ("runs-export", f"runs/{run.public_id}/metrics/export"):
        assert ask(stranger, address, format="csv").status_code == 404
        assert Client().get(f"{ann.base}/{address}?format=csv").status_code == 401
    assert ask(ann, "runs/run-nothing/metrics/export", format="csv").status_code == 404
