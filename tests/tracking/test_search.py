"""Searching runs with the filter language, and ordering by their metrics and parameters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import Person, make_person, make_project, make_run
from tracking import services
from tracking.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    ann = make_person(make_project("alpha"), username="ann")
    for number, loss in enumerate([0.5, 0.2, float("nan")], start=1):
        run = services.start_run(
            actor=ann.actor, project=ann.project, experiment_id=f"exp{number}", name=f"r{number}"
        )
        where = {"actor": ann.actor, "project": ann.project, "run_id": run.public_id}
        services.log_params(**where, params={"lr": number / 10, "opt": "adamw" if number > 1 else "sgd"})
        services.log_metrics(**where, series=[{"key": "loss", "values": [1.0, loss], "steps": [0, 1]}])
        services.log_dataset(**where, name=f"data{number}", path="s3://x", digest=f"d{number}")
        services.update_run(**where, tags={"team": "nlp"}, notes=f"note {number}")
    Run.objects.filter(name="r3").update(status="Failed", error="out of memory")
    return ann


def found(person: Person, **query: Any) -> list[str]:
    answer = person.api.get(f"{person.base}/runs", query)
    assert answer.status_code == 200, answer.content
    return [run["name"] for run in answer.json()["results"]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metrics.loss < 0.4 and params.opt = 'adamw'", ["r2"]),
        ("max.loss = 1 and min.loss <= 0.5", ["r2", "r1"]),
        ("status = 'failed' and error like '%memory'", ["r3"]),
        ("status in ('failed', 'Killed')", ["r3"]),
        ("status like 'Run%'", ["r2", "r1"]),
        ("params.lr >= 0.2", ["r3", "r2"]),
        ("experiment = 'exp1' or dataset = 'data2'", ["r2", "r1"]),
        ("dataset != 'data2' and dataset_digest in ('d1', 'd2')", ["r1"]),
        ("tags.team = 'nlp' and notes ilike 'NOTE 1'", ["r1"]),
        ("started_at > '2020-01-01' and ended_at is null and author = 'ann'", ["r3", "r2", "r1"]),
        ("metrics.loss = 'NaN'", ["r3"]),
        ("parent is null and code_version is null", ["r3", "r2", "r1"]),
    ],
)
def test_runs_are_found_by(ann: Person, text: str, wanted: list[str]) -> None:
    assert found(ann, filter=text) == wanted


def test_a_status_that_no_run_can_have_is_refused(ann: Person) -> None:
    refused = ann.api.get(f"{ann.base}/runs", {"filter": "status = 'Done'"}).json()
    assert "status is one of Running, Completed, Failed, Killed, not 'Done'" in refused["detail"]


@pytest.mark.parametrize(
    ("ordering", "wanted"),
    [
        ("metrics.loss", ["r2", "r1", "r3"]),
        ("-metrics.loss", ["r1", "r2", "r3"]),
        ("-params.lr", ["r3", "r2", "r1"]),
        ("params.opt", ["r2", "r3", "r1"]),
        ("min.loss", ["r2", "r1", "r3"]),
        ("-experiment", ["r3", "r2", "r1"]),
    ],
)
def test_runs_are_ordered_by(ann: Person, ordering: str, wanted: list[str]) -> None:
    assert found(ann, ordering=ordering) == wanted


def test_a_wrong_filter_names_its_character(ann: Person) -> None:
    problem = ann.api.get(f"{ann.base}/runs", {"filter": "metrics.loss << 1"}).json()
    assert problem["detail"] == "filter, character 15: expected a value, not '<'."
    assert problem["items"][-1].endswith("^")


def test_runs_of_other_projects_are_not_found(ann: Person) -> None:
    bob = make_person(make_project("beta"), username="bob")
    assert found(bob, filter="metrics.loss < 10 or name like '%'") == []


@pytest.mark.parametrize(
    ("ordering", "wanted"),
    [
        ("params.batch", ["-20", "-3", "0.5", "8", "16", "Auto", "large", "true", "none"]),
        ("-params.batch", ["true", "large", "Auto", "16", "8", "0.5", "-3", "-20", "none"]),
    ],
)
def test_a_parameter_sorts_numbers_by_value_and_then_texts_and_page_by_page(
    ann: Person, ordering: str, wanted: list[str]
) -> None:
    values: dict[str, Any] = {"16": 16, "large": "large", "-3": -3, "0.5": 0.5, "Auto": "Auto", "-20": -20}
    values |= {"8": 8, "true": True, "none": None}
    for name, value in values.items():
        run = services.start_run(actor=ann.actor, project=ann.project, experiment_id="mixed", name=name)
        services.log_params(
            actor=ann.actor, project=ann.project, run_id=run.public_id, params={"batch": value}
        )
    query = {"experiment": "mixed", "ordering": ordering}
    assert found(ann, **query) == wanted
    address, names = f"{ann.base}/runs?experiment=mixed&ordering={ordering}&page_size=4", []
    while address:
        answer = ann.api.get(address).json()
        names += [run["name"] for run in answer["results"]]
        address = answer["next"]
    assert names == wanted


def test_a_parameter_past_every_double_is_sorted(ann: Person) -> None:
    run = services.start_run(actor=ann.actor, project=ann.project, experiment_id="exp1", name="huge")
    services.log_params(actor=ann.actor, project=ann.project, run_id=run.public_id, params={"lr": 10**400})
    assert found(ann, ordering="-params.lr") == ["huge", "r3", "r2", "r1"]


@pytest.mark.parametrize("word", ["experiment", "created_by", "duration", "status", "name"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_pages_of_runs_follow_one_another_in_each_order(ann: Person, word: str, sign: str) -> None:
    for number in range(5):
        make_run(ann, experiment=f"exp-{number % 2}")
    services.start_run(actor=ann.actor, project=ann.project, experiment_id="going on")
    whole = found(ann, ordering=f"{sign}{word}")
    address, seen = f"{ann.base}/runs?ordering={sign}{word}&page_size=2", []
    while address:
        answer = ann.api.get(address)
        assert answer.status_code == 200, answer.data
        seen += [row["name"] for row in answer.json()["results"]]
        address = answer.json()["next"]
    assert seen == whole and len(seen) > 5
