"""Runs that are part of another run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import Person, make_person, make_project
from tracking import services

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def start(person: Person, **fields: Any) -> dict[str, Any]:
    answer = person.api.post(f"{person.base}/runs", {"experiment_id": "exp", **fields}, format="json")
    assert answer.status_code == 201, answer.json()
    found: dict[str, Any] = answer.json()
    return found


def ids(person: Person, query: str) -> list[str]:
    answer = person.api.get(f"{person.base}/runs?{query}")
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["results"]]


def test_the_runs_of_a_parent_are_listed(ann: Person) -> None:
    parent = start(ann, id="run-parent")
    for name in ("run-child1", "run-child2"):
        start(ann, id=name, parent_run_id=parent["id"], experiment_id="another")
    start(ann, id="run-grandchild", parent_run_id="run-child1")
    assert ids(ann, "parent=run-parent") == ["run-child2", "run-child1"]
    assert ids(ann, "parent=run-child1") == ["run-grandchild"]
    assert ids(ann, "parent=run-child1&status=Completed") == []
    assert ids(ann, "parent=run-grandchild") == []
    assert ann.api.get(f"{ann.base}/runs?parent=run-nothing").status_code == 404
    assert ann.api.get(f"{ann.base}/runs?parent=%00").status_code == 400


def test_children_of_a_run_with_the_same_id_elsewhere_are_not_listed(ann: Person) -> None:
    beta = make_person(make_project("beta"))
    for person in (ann, beta):
        start(person, id="run-parent")
    start(beta, id="run-child1", parent_run_id="run-parent")
    assert ids(ann, "parent=run-parent") == []


@pytest.mark.parametrize("parent", ["run-foreign", "run-nothere", "run-deleted", "run-itself", "", "x" * 40])
def test_a_parent_is_a_run_of_the_same_project(ann: Person, parent: str) -> None:
    start(make_person(make_project("beta")), id="run-foreign")
    start(ann, id="run-deleted")
    services.delete_run(actor=ann.actor, project=ann.project, run_id="run-deleted")
    body = {"experiment_id": "exp", "id": "run-itself", "parent_run_id": parent}
    answer = ann.api.post(f"{ann.base}/runs", body, format="json")
    assert answer.status_code == (404 if parent else 400), answer.json()
    assert "parent_run_id" in answer.json()["detail"] + str(answer.json()["errors"])
    assert ids(ann, "") == []


def test_the_end_of_a_parent_leaves_its_children_running(ann: Person) -> None:
    parent = start(ann)
    child = start(ann, parent_run_id=parent["id"])
    services.kill_run(actor=ann.actor, project=ann.project, run_id=parent["id"])
    assert ids(ann, "status=Running") == [child["id"]]
