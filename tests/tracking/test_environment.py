"""The environment of a run: what its recorder saw of system, packages and code."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import Person, make_person, make_project, send_json
from tracking.models import Run

pytestmark = pytest.mark.django_db
SEEN = {
    "system": {"python": "3.12.1", "cpu_count": 8, "gpus": ["NVIDIA H100"]},
    "packages": {"torch": "2.9.0"},
    "git": {"commit": "abc", "dirty": True, "branch": "größe"},
}


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def start(person: Person, **fields: Any):
    return send_json(person, "post", f"{person.base}/runs", {"experiment_id": "exp", **fields})


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth - 1):
        found = {"a": found}
    return found


def test_a_run_shows_the_environment_it_was_started_in(ann: Person) -> None:
    run = start(ann, environment=SEEN).json()
    assert run["environment"] == SEEN
    assert ann.api.get(f"{ann.base}/runs/{run['id']}").json()["environment"] == SEEN
    assert ann.api.get(f"{ann.base}/runs").json()["results"][0]["environment"] == SEEN
    assert start(ann).json()["environment"] == {}


def test_a_resumed_run_keeps_its_environment(ann: Person) -> None:
    run = start(ann, environment=SEEN).json()
    assert start(ann, id=run["id"], environment={"system": {}}).json()["environment"] == SEEN


@pytest.mark.parametrize("value", [{"a": "x" * 32_600}, {"a": [None, True, 1.5, -(2**70)]}, nested(8)])
def test_what_fits_is_taken(ann: Person, value: dict[str, Any]) -> None:
    answer = start(ann, environment=value)
    assert (answer.status_code, answer.json().get("environment")) == (201, value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "text",
        7,
        {"a": "x" * 32_800},
        {"a": "ü" * 16_500},
        {str(number): number for number in range(5000)},
        {"a": "b\0"},
        {"a\0": 1},
        {"a": ["\ud800"]},
        {"k" * 251: 1},
        nested(10),
        {"a": float("inf")},
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_a_bad_environment_is_refused_by_name(ann: Person, value: object) -> None:
    answer = start(ann, environment=value)
    assert answer.status_code == 400
    assert value == {"a": float("inf")} or any(
        name.startswith("environment") for name in answer.json()["errors"]
    )
    assert not Run.objects.exists()
