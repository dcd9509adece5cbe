"""Runs side by side."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import Person, make_person, make_project, make_run
from tracking import services

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def compare(person: Person, *run_ids: str, code: int = 200) -> Any:
    answer = person.api.get(f"{person.base}/runs-compare", {"run": list(run_ids)})
    assert answer.status_code == code, answer.json()
    return answer.json()


def test_runs_are_compared_by_metrics_parameters_tags_datasets_and_files(ann: Person) -> None:
    first = make_run(ann, {"m/a.txt": b"1", "m/b.txt": b"2"}, accuracy=0.5, loss=0.4)
    second = services.start_run(actor=ann.actor, project=ann.project, experiment_id="exp", tags={"k": "v"})
    where = {"actor": ann.actor, "project": ann.project, "run_id": second.public_id}
    services.log_params(**where, params={"lr": 0.1})
    services.log_metrics(**where, series=[{"key": "accuracy", "values": [0.75]}])
    services.log_dataset(**where, name="iris", digest="abc")
    found = compare(ann, first.public_id, second.public_id)
    assert [run["id"] for run in found["runs"]] == [first.public_id, second.public_id]
    accuracy = next(row for row in found["metrics"] if row["key"] == "accuracy")
    assert accuracy == {
        "key": "accuracy",
        "values": [0.5, 0.75],
        "differs": True,
        "differences": [0.0, 0.25],
        "direction": "higher",
        "best": 1,
    }
    assert found["params"] == [{"key": "lr", "values": [None, 0.1], "differs": True}]
    assert found["tags"] == [{"key": "k", "values": [None, "v"], "differs": True}]
    assert found["datasets"] == [{"key": "iris", "values": [None, "abc"], "differs": True}]
    assert [(row["path"], row["changes"]) for row in found["files"]] == [
        ("m/a.txt", ["same", "removed"]),
        ("m/b.txt", ["same", "removed"]),
    ]


def test_one_run_eleven_and_the_same_twice_are_refused(ann: Person) -> None:
    runs = [make_run(ann).public_id for _ in range(11)]
    for ids in ([], runs[:1], [runs[0], runs[0]], runs):
        assert "name 2 to 10 different ones" in compare(ann, *ids, code=400)["detail"]


def test_a_run_of_another_project_is_not_there(ann: Person) -> None:
    other = make_run(make_person(make_project("beta")))
    assert compare(ann, make_run(ann).public_id, other.public_id, code=404)["code"] == "run_not_found"
    assert compare(ann, make_run(ann).public_id, "run-\0", code=400)


def test_ten_runs_cost_as_many_queries_as_two(ann: Person, django_assert_max_num_queries: Any) -> None:
    runs = [make_run(ann, {"a.txt": b"1"}, accuracy=0.5).public_id for _ in range(10)]
    with django_assert_max_num_queries(12):
        compare(ann, *runs)
