"""What the database says of stored files is compared with what lies in storage."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from artifacts import fsck, uses
from artifacts.models import Blob, Manifest, ManifestFile
from artifacts.store import LocalStore, blob_store, key_of
from tests.artifacts.stores import NOWHERE, damage
from tests.factories import Person, make_person, make_project, make_run, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture(autouse=True)
def store(settings, tmp_path: Path) -> LocalStore:
    """These tests look at all that is stored."""
    settings.STORAGE_URL = tmp_path.as_uri()
    store = blob_store()
    assert isinstance(store, LocalStore)
    return store


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def look(*words: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what was found."""
    out = io.StringIO()
    try:
        call_command("fsck", "--json", *words, stdout=out)
    except CommandError as error:
        return error.returncode, json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def age(path: Path) -> None:
    then = time.time() - 2 * 86400
    os.utime(path, (then, then))


def test_where_all_is_well_nothing_is_found_and_everything_counted(ann: Person) -> None:
    assert look() == (0, {"blobs": 0, "bytes": 0, "findings": []})
    make_version(ann, files={"model/w": b"weights", "model/b": b"bias"})
    assert look() == look("--fast") == (0, {"blobs": 2, "bytes": 11, "findings": []})


def test_a_missing_file_is_named_with_all_that_use_it(ann: Person, store: LocalStore) -> None:
    first = make_version(ann, "iris", files={"model/w": b"weights", "model/b": b"bias"})
    second = make_version(ann, "wine", files={"nets/w": b"weights"})
    store.delete(sha(b"weights"))
    code, found = look("--fast")
    assert code == 1
    assert found["findings"] == [
        {
            "kind": "missing",
            "name": sha(b"weights"),
            "detail": "7 bytes are not in storage",
            "used_by": sorted(
                [
                    "iris version 1 of alpha: w",
                    "wine version 1 of alpha: w",
                    f"{first.source_run.public_id} of alpha: model/w",
                    f"{second.source_run.public_id} of alpha: nets/w",
                ]
            ),
        }
    ]


def test_a_file_of_another_size_is_found_fast_and_a_flipped_bit_by_reading(
    ann: Person, store: LocalStore
) -> None:
    make_run(ann, {"short": b"not so short", "flipped": b"1234567", "good": b"good"})
    damage(store, sha(b"not so short"))
    damage(store, sha(b"1234567"))
    _, fast = look("--fast")
    assert [(each["kind"], each["name"]) for each in fast["findings"]] == [("changed", sha(b"not so short"))]
    code, found = look()
    assert code == 1
    assert {(each["name"], each["detail"]) for each in found["findings"]} == {
        (sha(b"not so short"), "has 7 bytes instead of 12"),
        (sha(b"1234567"), f"its bytes have the SHA-256 {sha(b'damaged')}"),
    }


def test_old_files_without_a_row_and_unfinished_ones_are_named_fresh_ones_are_not(
    ann: Person, store: LocalStore
) -> None:
    make_run(ann, {"kept": b"kept"})
    for content in (b"old", b"fresh"):
        store.put([content], sha(content), len(content))
    (store.root / "ab").mkdir(exist_ok=True)
    odd = store.root / "ab" / "notes.txt"
    drafts = [store.incoming / name for name in ("old", "fresh")]
    for path in (odd, *drafts):
        path.write_bytes(b"?")
    for path in (store.root / key_of(sha(b"old")), odd, drafts[0], store.root / key_of(sha(b"kept"))):
        age(path)
    code, found = look()
    assert code == 1
    assert [(each["kind"], each["name"]) for each in found["findings"]] == [
        ("stray", key_of(sha(b"old"))),
        ("stray", "ab/notes.txt"),
        ("unfinished", "incoming/old"),
    ]
    assert all(path.exists() for path in (odd, *drafts))
    assert store.size(sha(b"old")) == 3


def test_several_pages_are_compared_in_one_order(
    ann: Person, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsck, "ROWS_AT_ONCE", 3)
    contents = [b"%d" % number for number in range(20)]
    make_run(ann, {f"{number}.txt": content for number, content in enumerate(contents)})
    lost = sorted(sha(content) for content in contents[::4])
    for digest in lost:
        store.delete(digest)
    _, found = look()
    assert ([each["name"] for each in found["findings"]], found["blobs"]) == (lost, 20)


def test_the_answer_for_people_says_what_to_look_for(ann: Person, store: LocalStore, capsys) -> None:
    run = make_run(ann, {"w": b"weights"})
    call_command("fsck", "--fix-nothing")
    assert capsys.readouterr().out == "All is well: 1 blobs, 7 bytes.\n"
    store.delete(sha(b"weights"))
    with pytest.raises(CommandError, match="1 findings in 1 blobs"):
        call_command("fsck")
    assert capsys.readouterr().out == (
        f"missing {sha(b'weights')}: 7 bytes are not in storage. Used by {run.public_id} of alpha: w.\n"
    )


def test_a_storage_that_is_away_is_no_finding(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    settings.STORAGE_URL = NOWHERE
    with pytest.raises(CommandError, match="does not answer") as refusal:
        call_command("fsck")
    assert refusal.value.returncode == 2


def test_a_list_that_no_version_has_is_named_by_its_digest_and_an_unknown_table_by_its_rows(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(ann, {"w": b"weights"})
    blob = Blob.objects.get()
    manifest = Manifest.objects.create(digest="d" * 64, file_count=1, total_size=7)
    file = ManifestFile.objects.create(manifest=manifest, path="w", blob=blob)
    assert f"manifest {'d' * 64}: w" in uses.uses_of(blob)
    monkeypatch.delitem(uses._sources, ManifestFile)
    assert f"artifacts.ManifestFile {file.pk}" in uses.uses_of(blob)


@pytest.mark.django_db(transaction=True)
def test_looking_writes_nothing(ann: Person, store: LocalStore) -> None:
    make_version(ann, files={"model/w": b"weights"})
    store.delete(sha(b"weights"))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        assert look()[0] == 1


@pytest.mark.slow
def test_a_bucket_is_compared_in_the_same_way(ann: Person, settings, request: pytest.FixtureRequest) -> None:
    settings.STORAGE_URL = request.getfixturevalue("s3_url")
    make_run(ann, {"a": b"in the bucket", "b": b"lost", "c": b"1234567"})
    assert look() == (0, {"blobs": 3, "bytes": 24, "findings": []})
    blob_store().delete(sha(b"lost"))
    damage(blob_store(), sha(b"1234567"))
    _, found = look()
    assert {(each["kind"], each["name"]) for each in found["findings"]} == {
        ("missing", sha(b"lost")),
        ("changed", sha(b"1234567")),
    }
