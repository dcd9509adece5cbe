"""How a model stood at a moment, validation metrics, and parents."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from registry.models import AliasMove, ModelVersion, StageTransition
from tests.factories import Person, make_person, make_project, make_run, make_version, send_json

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def post(person: Person, path: str, body: Any) -> Any:
    return person.api.post(f"{person.base}/{path}", body, format="json")


def test_production_at_a_moment_is_told_with_who_put_it_there(ann: Person) -> None:
    for _ in range(2):
        make_version(ann, "iris")
    for ref, stage in ((1, "Production"), (1, "Archived"), (2, "Production")):
        post(ann, f"models/iris/versions/{ref}/transition", {"stage": stage, "note": f"{stage} {ref}"})
    first, second, third = StageTransition.objects.order_by("id")
    ann.api.put(f"{ann.base}/models/iris/aliases/best", {"version": 1}, format="json")
    ann.api.put(f"{ann.base}/models/iris/aliases/best", {"version": 2}, format="json")
    moved = AliasMove.objects.order_by("-id").first()
    assert moved is not None

    def standing(moment: Any) -> Any:
        query = {"as_of": moment.isoformat()} if moment else {}
        answer = ann.api.get(f"{ann.base}/models/iris/standing", query)
        assert answer.status_code == 200
        return answer.json()

    then = standing(second.created_at - timedelta(microseconds=1))
    assert [(s["version"], s["stage"], s["by"], s["note"]) for s in then["stages"]] == [
        (1, "Production", "ann", "Production 1"),
        (2, "None", "ann", ""),
    ]
    assert then["aliases"] == []
    assert [(s["version"], s["stage"]) for s in standing(second.created_at)["stages"]] == [
        (1, "Archived"),
        (2, "None"),
    ]
    now = standing(None)
    assert [(s["version"], s["stage"]) for s in now["stages"]] == [(2, "Production"), (1, "Archived")]
    assert [(a["alias"], a["version"]) for a in now["aliases"]] == [("best", 2)]
    before = standing(moved.created_at - timedelta(microseconds=1))["aliases"]
    assert [(a["alias"], a["version"]) for a in before] == [("best", 1)]
    assert standing(ModelVersion.objects.get(number=1).created_at - timedelta(days=1))["stages"] == []
    assert first.created_at < third.created_at


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "0", "2026-01-01T99:00:00Z"])
def test_a_moment_that_is_none_is_refused(ann: Person, text: str) -> None:
    make_version(ann, "iris")
    answer = ann.api.get(f"{ann.base}/models/iris/standing", {"as_of": text})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["as_of"]


def test_validation_metrics_stand_beside_those_of_the_run(ann: Person) -> None:
    make_version(ann, "iris", accuracy=0.9)
    path = f"{ann.base}/models/iris/versions/1/validation-metrics"
    answer = send_json(ann, "post", path, {"metrics": {"accuracy": 0.85, "psi": "NaN"}})
    assert answer.status_code == 200
    assert answer.json()["metrics"] == {"accuracy": 0.9}
    assert answer.json()["validation_metrics"] == {"accuracy": 0.85, "psi": "NaN"}
    again = send_json(ann, "post", path, {"metrics": {"accuracy": 0.8}}).json()
    assert again["validation_metrics"] == {"accuracy": 0.8, "psi": "NaN"}
    row = ModelVersion.objects.get().metrics.get(kind="validation", key="psi")
    assert math.isnan(row.value)


@pytest.mark.parametrize("metrics", [{}, {"a": "x"}, {"": 1}, [1], {"a": None}])
def test_validation_metrics_that_are_none_are_refused(ann: Person, metrics: Any) -> None:
    make_version(ann, "iris")
    path = f"{ann.base}/models/iris/versions/1/validation-metrics"
    assert send_json(ann, "post", path, {"metrics": metrics}).status_code == 400


def test_a_version_names_its_parent(ann: Person) -> None:
    make_version(ann, "base@large")
    run = make_run(ann, {"m/w.txt": b"1"})
    body = {"source_run_id": run.public_id, "artifact_path": "m", "relation": "fine_tuned"}
    made = post(ann, "models/iris/versions", {**body, "parent": "base@large/1"})
    assert made.json()["parent"] == {"model_name": "base@large", "version": 1, "relation": "fine_tuned"}
    ann.api.put(f"{ann.base}/models/iris/aliases/best", {"version": 1}, format="json")
    child = post(ann, "models/iris/versions", {**body, "parent": "iris@best", "relation": "quantized"})
    assert child.json()["parent"] == {"model_name": "iris", "version": 1, "relation": "quantized"}


@pytest.mark.parametrize(
    ("more", "status", "field"),
    [
        ({"parent": "iris", "relation": "adapter"}, 400, "parent"),
        ({"parent": "nothing/1", "relation": "adapter"}, 404, None),
        ({"parent": "base/1"}, 400, "relation"),
        ({"parent": "base/1", "relation": "cousin"}, 400, "relation"),
        ({"relation": "adapter"}, 400, "relation"),
    ],
)
def test_a_parent_that_is_none_is_refused(ann: Person, more: Any, status: int, field: str | None) -> None:
    make_version(ann, "base")
    run = make_run(ann, {"m/w.txt": b"1"})
    answer = post(ann, "models/iris/versions", {"source_run_id": run.public_id, "artifact_path": "m", **more})
    assert answer.status_code == status
    assert field is None or list(answer.json()["errors"]) == [field]


def test_a_parent_in_another_project_does_not_exist(ann: Person) -> None:
    make_version(make_person(make_project("beta")), "secret")
    run = make_run(ann, {"m/w.txt": b"1"})
    body = {"source_run_id": run.public_id, "artifact_path": "m", "parent": "secret/1", "relation": "adapter"}
    assert post(ann, "models/iris/versions", body).status_code == 404
