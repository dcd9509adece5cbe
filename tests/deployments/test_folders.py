"""Model files on the serving disk: brought by a job of their own, told while they come, removed when nobody needs them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from artifacts.models import Blob, Manifest
from artifacts.services import materialize
from common import jobs
from common.models import Job, JobState
from deployments.models import DeploymentRevision
from deployments.tasks import clean_model_files
from tests.deployments.conftest import (
    EngineProcess,
    a_quick_version,
    ask,
    deploy,
    endpoint,
    events,
    state,
    work_until,
)
from tests.factories import Person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gateway")]

BRINGING = "Its files are being brought."
DAY = 86_400


@pytest.fixture(autouse=True)
def models(engine: EngineProcess, settings: Any, request: pytest.FixtureRequest) -> Path:
    """A disk for model files of this test alone, which the engine's accounts may read."""
    settings.SERVING_MODELS_DIR = engine.folder / f"models-{request.node.name}"
    return settings.SERVING_MODELS_DIR


def work_on(name: str, count: int = 1) -> None:
    """So many turns of the queued jobs of this name alone, due or not."""
    for _ in range(count):
        for row in Job.objects.filter(name=name, state=JobState.QUEUED):
            Job.objects.filter(pk=row.pk).update(run_after=row.created_at)
            jobs.run(row.pk)


def reconcile_twice() -> None:
    work_on("deployments.reconcile", 2)


def bringing() -> Any:
    return Job.objects.filter(name="deployments.bring_files", state=JobState.QUEUED)


def clean(models: Path) -> list[str]:
    """What lies on the disk after the hourly look."""
    clean_model_files()
    work_on("deployments.remove_unneeded_files")
    return sorted(path.name for path in models.iterdir())


def grow_old(folder: Path, seconds: float = 2 * DAY) -> None:
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (time.time() - seconds,) * 2)


def test_an_endpoint_says_that_its_files_come_and_begins_when_they_are_there(
    ada: Person, models: Path
) -> None:
    deploy(ada, a_quick_version(ada))
    reconcile_twice()
    assert (state(ada), endpoint(ada)["reason"]) == ("Deploying", BRINGING)
    assert bringing().count() == 1 and not models.exists()
    work_on("deployments.bring_files")
    assert [path.name for path in models.iterdir()] == [Manifest.objects.get().digest]
    soon = Job.objects.get(name="deployments.reconcile", state=JobState.QUEUED)
    assert soon.run_after <= timezone.now(), "nothing waits for the next look"
    reconcile_twice()
    assert endpoint(ada)["reason"] == "", "they have come"
    work_until(lambda: state(ada) == "Active")
    assert events(ada).count(BRINGING) == 1


def test_endpoints_of_the_same_files_wait_for_one_job(ada: Person) -> None:
    version = a_quick_version(ada)
    for name in ("iris-api", "iris-too"):
        deploy(ada, version, name)
    reconcile_twice()
    assert [endpoint(ada, name)["reason"] for name in ("iris-api", "iris-too")] == [BRINGING] * 2
    assert bringing().count() == 1
    work_on("deployments.bring_files")
    work_until(lambda: state(ada) == state(ada, "iris-too") == "Active")
    assert not bringing().exists()


def test_files_that_nobody_wants_any_more_are_not_brought(ada: Person, models: Path) -> None:
    deploy(ada, a_quick_version(ada))
    reconcile_twice()
    ada.api.post(f"{ada.base}/deployments/iris-api/undeploy")
    work_on("deployments.bring_files")
    assert not models.exists()
    work_until(lambda: state(ada) == "Inactive")


def test_files_stop_coming_in_the_middle_when_they_are_not_wanted_and_leave_nothing(
    ada: Person, models: Path
) -> None:
    manifest, seen = a_quick_version(ada).manifest, []

    def watch() -> None:
        seen.extend(path.name for path in models.iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialize(manifest, models / manifest.digest, watch=watch)
    assert seen and not list(models.iterdir())


@pytest.mark.parametrize("trouble", ["broken", "full"])
def test_files_that_cannot_be_brought_are_told_in_a_sentence_and_tried_again(
    ada: Person, engine: EngineProcess, models: Path, settings: Any, trouble: str
) -> None:
    version, said = a_quick_version(ada), "Not a directory"
    if trouble == "broken":
        settings.SERVING_MODELS_DIR = engine.folder / "engine.log" / "models"
    else:
        Blob.objects.update(size=F("size") + (1 << 60))
        said = "The files need 1024.0\xa0PB, and their disk has"
    deploy(ada, version)
    reconcile_twice()
    for _ in range(jobs.KINDS["deployments.bring_files"].max_attempts - 1):
        work_on("deployments.bring_files")
        reconcile_twice()
        found = endpoint(ada)
        assert found["state"] == "Deploying" and found["reason"].endswith("It is tried again.")
        assert found["reason"].startswith(f"Its files could not be brought: {said}")
    work_on("deployments.bring_files")
    assert state(ada) == "Failed" and endpoint(ada)["reason"].endswith("Deploy it again, or ask an operator.")
    reconcile_twice()
    assert not bringing().exists()

    settings.SERVING_MODELS_DIR = models
    if trouble == "full":
        Blob.objects.update(size=F("size") - (1 << 60))
    assert ada.api.post(f"{ada.base}/deployments/iris-api/deploy").status_code == 200
    work_until(lambda: state(ada) == "Active")


def test_a_full_disk_is_freed_of_what_nobody_needs_first(ada: Person, models: Path) -> None:
    old = brought(ada, models)
    ada.api.post(f"{ada.base}/deployments/iris-api/undeploy")
    assert clean(models) == [old.name], "it may be gone back to"
    second = a_quick_version(ada, "return [2 for row in rows]")
    Blob.objects.filter(pk__in=second.manifest.files.values("blob")).update(size=1 << 60)
    deploy(ada, second)
    reconcile_twice()
    work_on("deployments.bring_files")
    assert list(models.iterdir()) == []


def test_what_a_killed_worker_brought_is_brought_by_the_next(ada: Person, models: Path) -> None:
    deploy(ada, a_quick_version(ada))
    reconcile_twice()
    row = jobs.claim(bringing().get().pk)
    assert row is not None
    half = models / f".{Manifest.objects.get().digest}.{'0' * 32}" / "model"
    half.mkdir(parents=True)
    (half / "predictor.py").write_text("class Pre")
    grow_old(half.parent, 15)
    reconcile_twice()
    assert not bringing().exists(), "a worker brings them, as far as anybody knows"
    Job.objects.filter(pk=row.pk).update(lease_until=timezone.now())
    assert jobs.reap() == 1
    work_until(lambda: state(ada) == "Active")
    assert [path.name for path in models.iterdir()] == [Manifest.objects.get().digest]


def brought(person: Person, models: Path) -> Path:
    """The folder of an endpoint that is about to be started."""
    deploy(person, a_quick_version(person))
    reconcile_twice()
    work_on("deployments.bring_files")
    (folder,) = models.iterdir()
    return folder


def test_folders_that_no_endpoint_needs_go_after_their_time(ada: Person, models: Path) -> None:
    folder = brought(ada, models)
    for state_of_revision in ("Deploying", "Active", "Asleep"):
        DeploymentRevision.objects.update(state=state_of_revision)
        grow_old(folder)
        assert clean(models) == [folder.name]
    ada.api.post(f"{ada.base}/deployments/iris-api/undeploy")
    assert clean(models) == [folder.name], "it was needed until now"
    grow_old(folder)
    assert clean(models) == []


def test_a_deploy_right_after_the_folder_went_brings_it_again(ada: Person, models: Path) -> None:
    folder = brought(ada, models)
    ada.api.post(f"{ada.base}/deployments/iris-api/undeploy")
    grow_old(folder)
    assert clean(models) == []
    ada.api.post(f"{ada.base}/deployments/iris-api/deploy")
    work_until(lambda: state(ada) == "Active")
    assert ask(ada).status_code == 200


def test_what_dead_workers_left_goes_and_what_is_being_brought_stays(ada: Person, models: Path) -> None:
    for name in (".dead.0", ".living.0"):
        (models / name).mkdir(parents=True)
        (models / name / "weights").write_bytes(b"0")
    grow_old(models / ".dead.0")
    os.utime(models / ".living.0", (0, 0))
    assert clean(models) == [".living.0"]


def test_a_folder_whose_files_were_cut_is_made_whole_before_it_is_served(ada: Person, models: Path) -> None:
    (file,) = [path for path in brought(ada, models).rglob("*") if path.is_file()]
    file.unlink()
    file.write_text("class Pre")
    work_until(lambda: state(ada) == "Active")
    assert ask(ada).json()["predictions"][0] == 7
