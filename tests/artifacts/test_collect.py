"""What nobody refers to is freed, and nothing else, whoever uploads or commits at the same moment."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone

from artifacts import collect, services
from artifacts.models import Blob, Manifest, ManifestFile, ProjectBlob
from artifacts.store import LocalStore, blob_store, key_of
from artifacts.tasks import collect_daily
from common.errors import Busy, DomainError
from common.relations import parts_of, references_to
from registry import services as registry_verbs
from registry.models import Inspection, ModelVersion, RegisteredModel
from tests.factories import Person, add_files, make_person, make_project, make_run, make_version, run_jobs
from tracking import services as tracking_verbs
from tracking.models import RunFile

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_store")]


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def upload(person: Person, content: bytes) -> str:
    services.store_blob(
        actor=person.actor,
        project=person.project,
        sha256=sha(content),
        stream=io.BytesIO(content),
        size=len(content),
    )
    return sha(content)


def let_days_pass(days: float = 2) -> None:
    """As if everything had been stored and seen so long ago."""
    then = timezone.now() - timedelta(days=days)
    Blob.objects.update(seen_at=then)
    Manifest.objects.update(created_at=then)


def gc(*words: str) -> dict[str, int]:
    out = io.StringIO()
    call_command("gc", "--json", *words, stdout=out)
    found = json.loads(out.getvalue())
    assert found.pop("dry_run") is ("--dry-run" in words)
    return found


def stored() -> set[str]:
    return {each.sha256 for each in blob_store().walk()}


def test_what_nobody_refers_to_is_freed_with_its_bytes(ann: Person) -> None:
    digests = {upload(ann, b"one"), upload(ann, b"three")}
    let_days_pass()
    assert stored() == digests
    assert gc() == {"manifests": 0, "blobs": 2, "strays": 0, "bytes": 8, "uploads": 0}
    assert (Blob.objects.count(), ProjectBlob.objects.count(), stored()) == (0, 0, set())
    assert gc() == {"manifests": 0, "blobs": 0, "strays": 0, "bytes": 0, "uploads": 0}


def test_files_of_runs_and_versions_stay_those_in_the_trash_too(ann: Person) -> None:
    make_run(ann, {"log": b"of a run"})
    version = make_version(ann, files={"model/w": b"of a version"})
    RunFile.objects.filter(path="model/w").delete()
    ModelVersion.objects.filter(pk=version.pk).update(deleted_at=timezone.now())
    let_days_pass()
    assert gc("--dry-run") == gc() == {"manifests": 0, "blobs": 0, "strays": 0, "bytes": 0, "uploads": 0}
    assert stored() == {sha(b"of a run"), sha(b"of a version")}


def test_a_manifest_that_nobody_needs_goes_and_what_only_it_held(ann: Person) -> None:
    version = make_version(ann, files={"model/w": b"weights", "model/shared": b"shared"})
    make_run(ann, {"shared": b"shared"})
    Inspection.objects.create(manifest=version.manifest, rules="1", status="Ready")
    RunFile.objects.filter(path__startswith="model/").delete()
    ModelVersion.objects.all().delete()
    let_days_pass()
    foreseen = gc("--dry-run")
    assert foreseen == {"manifests": 1, "blobs": 1, "strays": 0, "bytes": 7, "uploads": 0}
    assert (Manifest.objects.count(), Blob.objects.count(), len(stored())) == (1, 2, 2)
    assert gc() == foreseen
    assert (Manifest.objects.count(), ManifestFile.objects.count(), Inspection.objects.count()) == (0, 0, 0)
    assert stored() == {sha(b"shared")}


def test_what_was_stored_or_asked_for_a_short_while_ago_stays(ann: Person, settings) -> None:
    asked, stored_again, forgotten = upload(ann, b"asked"), upload(ann, b"again"), upload(ann, b"forgotten")
    let_days_pass()
    missing = services.missing_blobs(actor=ann.actor, project=ann.project, digests=[asked])
    assert missing == []
    upload(ann, b"again")
    assert gc() == {"manifests": 0, "blobs": 1, "strays": 0, "bytes": 9, "uploads": 0}
    assert stored() == {asked, stored_again}
    assert services.missing_blobs(actor=ann.actor, project=ann.project, digests=[forgotten]) == [forgotten]
    settings.BLOB_GRACE_HOURS = 0
    assert gc()["blobs"] == 2


def test_a_stranger_s_question_keeps_nothing(ann: Person) -> None:
    digest = upload(ann, b"of alpha")
    let_days_pass()
    beta = make_person(make_project("beta"))
    assert services.missing_blobs(actor=beta.actor, project=beta.project, digests=[digest]) == [digest]
    assert gc()["blobs"] == 1


def test_asking_again_within_the_hour_writes_nothing(ann: Person) -> None:
    digest = upload(ann, b"x")
    for minutes, written in ((59, False), (61, True)):
        then = timezone.now() - timedelta(minutes=minutes)
        Blob.objects.update(seen_at=then)
        services.missing_blobs(actor=ann.actor, project=ann.project, digests=[digest])
        assert (Blob.objects.get().seen_at != then) is written


def test_many_batches_are_freed_and_counted(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "BLOBS_AT_ONCE", 3)
    monkeypatch.setattr(collect, "MANIFESTS_AT_ONCE", 2)
    for number in range(7):
        services.make_manifest({"f": Blob.objects.get(sha256=upload(ann, b"%d" % number))})
    let_days_pass()
    assert gc("--dry-run") == {"manifests": 7, "blobs": 7, "strays": 0, "bytes": 7, "uploads": 0}
    assert gc() == {"manifests": 7, "blobs": 7, "strays": 0, "bytes": 7, "uploads": 0}


def test_bytes_and_drafts_that_a_crash_left_are_freed_when_they_are_old(ann: Person) -> None:
    store = blob_store()
    assert isinstance(store, LocalStore)
    kept, lost, fresh = upload(ann, b"kept"), sha(b"lost"), sha(b"fresh")
    make_run(ann, {"kept": b"kept"})
    store.put([b"lost"], lost, 4)
    store.put([b"fresh"], fresh, 5)
    drafts = [store.incoming / name for name in ("a" * 32, "b" * 32)]
    part = store.incoming / "upload" / "1"
    part.parent.mkdir()
    for path in (*drafts, part):
        path.write_bytes(b"half")
    then = time.time() - 2 * 86400
    for path in (store.root / key_of(lost), store.root / key_of(kept), drafts[0], part):
        os.utime(path, (then, then))
    assert gc("--dry-run") == gc() == {"manifests": 0, "blobs": 0, "strays": 2, "bytes": 8, "uploads": 0}
    assert stored() == {kept, fresh}
    assert [path.exists() for path in (*drafts, part)] == [False, True, True]


def test_the_list_without_files_is_made_once_and_goes_when_nobody_needs_it(ann: Person) -> None:
    manifest = services.manifest_without_files()
    assert services.manifest_without_files() == manifest
    assert (manifest.file_count, manifest.total_size) == (0, 0)
    let_days_pass()
    assert gc()["manifests"] == 1


def test_the_command_says_it_in_words(ann: Person, capsys: pytest.CaptureFixture[str]) -> None:
    upload(ann, b"one")
    let_days_pass()
    call_command("gc", "--dry-run")
    call_command("gc")
    assert capsys.readouterr().out.splitlines() == [
        "Would free 0 manifests, 1 blobs and 0 strays: 3 bytes. Uploads given up: 0.",
        "Freed 0 manifests, 1 blobs and 0 strays: 3 bytes. Uploads given up: 0.",
    ]


def test_the_clock_queues_one_job_that_frees(ann: Person) -> None:
    upload(ann, b"one")
    let_days_pass()
    collect_daily()
    collect_daily()
    assert run_jobs() == 1
    assert stored() == set()


def test_what_goes_along_with_a_blob_or_a_manifest_was_chosen() -> None:
    """A new foreign key that cascades would let the collector take its rows: think, then add it here."""
    along = {model: {each.related_model for each in parts_of(model)} for model in (Blob, Manifest)}
    assert along == {Blob: {ProjectBlob}, Manifest: {ManifestFile, Inspection}}
    assert {each.related_model for each in references_to(Blob)} >= {ManifestFile, RunFile}
    assert {each.related_model for each in references_to(Manifest)} >= {ModelVersion}


def meanwhile(*functions: Callable[[], object]) -> list[object]:
    """What each returned, or the DomainError that it raised; all run at once."""
    start = threading.Barrier(len(functions))

    def run(function: Callable[[], object]) -> object:
        start.wait()
        try:
            return function()
        except DomainError as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


def check_whole() -> None:
    """Every row has its bytes, all bytes have a row, every reference leads somewhere."""
    assert stored() == set(Blob.objects.values_list("sha256", flat=True))
    for model in (RunFile, ManifestFile):
        assert not model.objects.exclude(blob__in=Blob.objects.all()).exists()
    assert not ModelVersion.objects.exclude(manifest__in=Manifest.objects.all()).exists()


@pytest.mark.django_db(transaction=True)
def test_a_blob_that_is_being_committed_is_skipped(ann: Person) -> None:
    digest = upload(ann, b"weights")
    let_days_pass()
    with transaction.atomic():
        assert list(services.claim_blobs(ann.project, [digest])) == [digest]
        assert meanwhile(collect.collect) == [collect.Freed(0, 0, 0, 0, 0)]
    assert meanwhile(collect.collect) == [collect.Freed(0, 1, 0, 7, 0)]


@pytest.mark.django_db(transaction=True)
def test_who_commits_a_blob_that_is_being_removed_is_told_to_upload_it(ann: Person) -> None:
    run = tracking_verbs.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    digest = upload(ann, b"weights")
    deleted = threading.Event()
    answers = []

    def commit() -> None:
        deleted.wait(10)
        path = f"{ann.base}/runs/{run.public_id}/artifacts"
        files = {"files": [{"path": "w", "sha256": digest}]}
        answers.append(ann.api.post(path, files, format="json"))

    def remove() -> None:
        with transaction.atomic():
            Blob.objects.select_for_update().get()
            Blob.objects.all().delete()
            deleted.set()
            threading.Event().wait(0.3)  # the commit waits at the row
        collect.remove_bytes(digest)

    meanwhile(commit, remove)
    assert (answers[0].status_code, answers[0].json()["code"]) == (400, "blob_missing")
    assert not RunFile.objects.exists()
    check_whole()


def test_what_was_committed_before_its_row_was_locked_stays(ann: Person, monkeypatch) -> None:
    """The look that found a blob unused may be older than the lock on its row: the look after it decides."""
    make_version(ann, files={"model/w": b"weights"})
    let_days_pass()

    def looked_long_ago(rows, after: int, count: int) -> list[int]:
        return [pk for pk in rows.model.objects.values_list("pk", flat=True) if pk > after]

    monkeypatch.setattr(collect, "_lock_some", looked_long_ago)
    assert gc() == {"manifests": 0, "blobs": 0, "strays": 0, "bytes": 0, "uploads": 0}
    check_whole()


@pytest.mark.django_db(transaction=True)
def test_bytes_that_came_back_before_they_were_removed_stay(ann: Person) -> None:
    digest = upload(ann, b"weights")
    Blob.objects.all().delete()
    upload(ann, b"weights")
    collect.remove_bytes(digest)
    check_whole()
    assert stored() == {digest}


@pytest.mark.django_db(transaction=True)
def test_bytes_that_were_removed_before_their_row_was_written_are_asked_for_again(ann: Person) -> None:
    digest = sha(b"weights")
    blob_store().put([b"weights"], digest, 7)
    collect.remove_bytes(digest)
    with pytest.raises(Busy):
        services.keep_stored(ann.project, digest, 7)
    assert not Blob.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_uploads_commits_and_collectors_at_once_leave_nothing_broken(ann: Person, settings) -> None:
    settings.BLOB_GRACE_HOURS = 0
    contents = [os.urandom(20) for _ in range(6)]
    run = tracking_verbs.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    refusals: list[DomainError] = []

    def work(number: int) -> None:
        for turn in range(40):
            content = contents[(number + turn) % len(contents)]
            path = f"{number}/{turn % 3}"
            try:
                upload(ann, content)
                tracking_verbs.commit_files(
                    actor=ann.actor,
                    project=ann.project,
                    run_id=run.public_id,
                    files=[{"path": path, "sha256": sha(content)}],
                )
            except DomainError as error:
                refusals.append(error)
            RunFile.objects.filter(run=run, path=path).exclude(path__endswith="/0").delete()

    def free() -> int:
        return sum(collect.collect().blobs for _ in range(60))

    ends = meanwhile(*(lambda n=n: work(n) for n in range(4)), free, free)
    assert not [end for end in ends if isinstance(end, BaseException)]
    # Without any grace even a running upload's draft looks dead: that is `storage_away`.
    assert {error.code for error in refusals} <= {"blob_missing", "busy", "storage_away"}
    assert sum(end for end in ends if isinstance(end, int)) > 0
    check_whole()


@pytest.mark.django_db(transaction=True)
def test_versions_made_while_old_lists_are_collected_have_their_files(ann: Person, settings) -> None:
    settings.BLOB_GRACE_HOURS = 0
    run = make_run(ann, {})
    tracking_verbs.resume_run(actor=ann.actor, project=ann.project, run_id=run.public_id)
    add_files(ann, run, {"model/w": b"weights"})

    def make() -> int:
        for _ in range(30):
            version = registry_verbs.create_version(
                actor=ann.actor,
                project=ann.project,
                model_name="iris",
                source_run_id=run.public_id,
                artifact_path="model",
            )
            RegisteredModel.objects.update(latest_version=None)
            ModelVersion.objects.filter(pk=version.pk).delete()
        return 0

    def free() -> int:
        return sum(collect.collect().manifests for _ in range(60))

    ends = meanwhile(make, free, free)
    assert not [end for end in ends if isinstance(end, BaseException)], ends
    assert sum(end for end in ends if isinstance(end, int)) > 0
    check_whole()
