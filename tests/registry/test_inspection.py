"""What a worker found in a version's files, at REST."""

from __future__ import annotations

import json
import struct
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from artifacts.models import Blob
from common.models import Job
from registry.models import ModelVersion
from registry.tasks import inspect_version
from tests.factories import Person, browser, make_person, make_project, make_version, run_jobs

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


def test_files_without_room_are_looked_at_later_and_after_an_hour_quarantined_in_words(ann: Person) -> None:
    version = make_version(ann, "iris", ready=False)
    Blob.objects.update(size=1 << 60)
    job = Job.objects.get(name="registry.inspect_version")

    def looked() -> tuple[str, str]:
        Job.objects.filter(pk=job.pk).update(run_after=timezone.now())
        inspect_version(job.pk)
        version.refresh_from_db()
        return version.status, Job.objects.get(pk=job.pk).state

    assert looked() == ("Pending", "queued")
    ModelVersion.objects.update(created_at=timezone.now() - timedelta(hours=2))
    assert [looked() for _ in range(3)][-1] == ("Quarantined", "failed")
    assert version.status_reason.startswith("The files could not be looked at: The files need 1024.0\xa0PB")


def test_files_are_looked_at_once_the_storage_is_back(ann: Person, settings: Any, tmp_path: Path) -> None:
    settings.STORAGE_URL = f"file://{tmp_path}/blobs"
    version = make_version(ann, "iris", ready=False)
    address = f"{ann.base}/models/iris/versions/1"
    blobs = tmp_path / "blobs"
    blobs.rename(tmp_path / "away")
    run_job = partial(inspect_version, Job.objects.get(name="registry.inspect_version").pk)
    for _ in range(6):
        Job.objects.update(run_after=timezone.now())
        run_job()
    found = ann.api.get(address).json()
    assert (found["status"], found["status_reason"]) == (
        "Pending",
        "The storage does not answer (No such file or directory). Its files are looked at again soon.",
    )
    assert (
        found["status_reason"] in browser(ann).get("/projects/alpha/models/iris/versions/1/").content.decode()
    )
    refused = ann.api.get(f"{address}/artifacts/weights.txt")
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_away")
    (tmp_path / "away").rename(blobs)
    Job.objects.update(run_after=timezone.now())
    run_job()
    version.refresh_from_db()
    assert (version.status, version.status_reason) == ("Ready", "")


def test_a_stranger_is_told_nothing(ann: Person) -> None:
    make_version(ann, "iris")
    eve = make_person(make_project("beta"))
    assert eve.api.get(f"{ann.base}/models/iris/versions/1/inspection").status_code == 404
