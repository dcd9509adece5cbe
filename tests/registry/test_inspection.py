"""What a worker found in a version's files, at REST."""

from __future__ import annotations

import json
import struct

import pytest

from tests.factories import Person, make_person, make_project, make_version, run_jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def test_tensors_are_told_once_a_worker_has_looked(ann: Person) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(16)
    make_version(ann, "iris", files={"model.safetensors": content}, ready=False)
    address = f"{ann.base}/models/iris/versions/1/inspection"
    waiting = ann.api.get(address)
    assert (waiting.status_code, waiting.json()["code"]) == (404, "not_inspected")
    run_jobs()
    found = ann.api.get(address).json()
    assert found["status"] == "Ready"
    assert found["details"]["parameters"] == 4
    assert found["details"]["tensors"] == [{"name": "w", "dtype": "F32", "shape": [2, 2]}]


def test_a_stranger_is_told_nothing(ann: Person) -> None:
    make_version(ann, "iris")
    eve = make_person(make_project("beta"))
    assert eve.api.get(f"{ann.base}/models/iris/versions/1/inspection").status_code == 404
