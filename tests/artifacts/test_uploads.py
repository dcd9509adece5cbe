"""Large files that come in parts: gone on with by anybody of the project, right or not there at all."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from accounts.choices import Role
from artifacts import collect, services, uploads
from artifacts.errors import BodyIncomplete, DraftLost
from artifacts.fsck import Check
from artifacts.models import Blob, Upload, UploadPart
from artifacts.store import LocalStore, blob_store
from common.errors import DomainError
from tests.factories import Person, make_person, make_project

pytestmark = pytest.mark.django_db

PART = uploads.MIN_PART_SIZE
CONTENT = os.urandom(2 * PART + 1000)
PARTS = [CONTENT[:PART], CONTENT[PART : 2 * PART], CONTENT[2 * PART :]]


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture(autouse=True)
def store(settings, tmp_path: Path) -> LocalStore:
    settings.STORAGE_URL = tmp_path.as_uri()
    found = blob_store()
    assert isinstance(found, LocalStore)
    return found


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SHA = sha(CONTENT)


def begin(person: Person, digest: str = SHA, size: int = len(CONTENT), **more: Any):
    body = {"sha256": digest, "size": size, "part_size": PART, **more}
    return person.api.post(f"{person.base}/blobs/uploads", body, format="json")


def begun(person: Person, digest: str = SHA) -> str:
    answer = begin(person, digest)
    assert answer.status_code == 200, answer.json()
    return str(answer.json()["id"])


def put(person: Person, upload_id: str, number: int, content: bytes | None = None):
    path = f"{person.base}/blobs/uploads/{upload_id}/parts/{number}"
    sent = PARTS[number - 1] if content is None else content
    return person.api.generic("PUT", path, sent, content_type="application/octet-stream")


def complete(person: Person, upload_id: str):
    return person.api.post(f"{person.base}/blobs/uploads/{upload_id}/complete")


def abort(person: Person, upload_id: str):
    return person.api.delete(f"{person.base}/blobs/uploads/{upload_id}")


def get(person: Person, upload_id: str):
    return person.api.get(f"{person.base}/blobs/uploads/{upload_id}")


def drafts(store: LocalStore) -> list[str]:
    return [path.name for path in store.incoming.iterdir()] if store.incoming.exists() else []


def test_parts_in_any_order_become_a_blob(ann: Person, store: LocalStore) -> None:
    answer = begin(ann)
    upload_id = answer.json()["id"]
    assert upload_id.startswith("up-")
    assert answer.json()["parts"] == []
    assert (answer.json()["part_size"], answer.json()["part_count"]) == (PART, 3)
    for number in (3, 1, 3, 2):
        sent = put(ann, upload_id, number)
        assert (sent.status_code, sent.json()["number"]) == (200, number)
    assert get(ann, upload_id).json()["parts"] == [1, 2, 3]
    assert not Blob.objects.exists()
    assert store.size(SHA) is None
    assert complete(ann, upload_id).json() == {"sha256": SHA, "size": len(CONTENT)}
    with services.open_blob(Blob.objects.get()) as file:
        assert file.read() == CONTENT
    assert list(services.held_blobs(ann.project, [SHA])) == [SHA]
    assert drafts(store) == []


def test_completing_again_answers_the_same_and_nothing_more_is_taken(ann: Person) -> None:
    upload_id = begun(ann)
    for number in (1, 2, 3):
        put(ann, upload_id, number)
    assert complete(ann, upload_id).json() == complete(ann, upload_id).json()
    answer = put(ann, upload_id, 1)
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_completed")
    assert get(ann, upload_id).json()["completed_at"]
    assert begun(ann) != upload_id
    assert abort(ann, upload_id).status_code == 204
    assert Blob.objects.count() == 1


def test_who_begins_again_goes_on_with_what_came(ann: Person) -> None:
    bob = make_person(ann.project, Role.CONTRIBUTOR)
    upload_id = begun(ann)
    put(ann, upload_id, 2)
    again = begin(bob, part_size=PART * 2).json()
    assert (again["id"], again["parts"], again["part_size"]) == (upload_id, [2], PART)
    listed = bob.api.get(f"{bob.base}/blobs/uploads?sha256={SHA}").json()["results"]
    assert [(each["id"], each["parts"], each["created_by"]) for each in listed] == [(upload_id, [2], "ann")]
    assert bob.api.get(f"{bob.base}/blobs/uploads?sha256={sha(b'other')}").json()["results"] == []
    assert bob.api.get(f"{bob.base}/blobs/uploads?digest=1").status_code == 400
    for number in (1, 3):
        put(bob, upload_id, number)
    assert complete(bob, upload_id).status_code == 200
    assert bob.api.get(f"{bob.base}/blobs/uploads").json()["results"] == []


def test_an_upload_without_all_parts_is_not_completed(ann: Person) -> None:
    upload_id = begun(ann)
    put(ann, upload_id, 2)
    answer = complete(ann, upload_id)
    assert (answer.status_code, answer.json()["code"], answer.json()["items"]) == (
        409,
        "parts_missing",
        ["1", "3"],
    )
    assert not Blob.objects.exists()


def test_other_bytes_than_the_digest_says_are_refused_and_the_upload_is_dropped(
    ann: Person, store: LocalStore
) -> None:
    upload_id = begun(ann)
    put(ann, upload_id, 1)
    put(ann, upload_id, 2, PARTS[0])
    put(ann, upload_id, 3)
    answer = complete(ann, upload_id)
    assert (answer.status_code, answer.json()["code"]) == (400, "digest_mismatch")
    assert sha(PARTS[0] + PARTS[0] + PARTS[2]) in answer.json()["detail"]
    assert (Blob.objects.count(), Upload.objects.count(), drafts(store)) == (0, 0, [])
    assert store.size(SHA) is None
    assert get(ann, upload_id).status_code == 404


def test_a_part_of_another_length_is_refused(ann: Person) -> None:
    upload_id = begun(ann)
    for number, content in ((1, PARTS[0][:-1]), (3, PARTS[2] + b"x"), (3, PARTS[0]), (2, b"")):
        answer = put(ann, upload_id, number, content)
        assert answer.status_code in (400, 411), answer.json()
    for number in (0, 4, 10**30):
        answer = put(ann, upload_id, number, PARTS[0])
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["number"])
    assert not UploadPart.objects.exists()


def test_a_part_is_checked_against_its_own_digest(ann: Person) -> None:
    upload_id = begun(ann)
    path = f"{ann.base}/blobs/uploads/{upload_id}/parts/1"

    def sent(content: bytes, header: str):
        kind = "application/octet-stream"
        return ann.api.generic("PUT", path, content, content_type=kind, HTTP_CONTENT_DIGEST=header)

    right = f"md5=:x:, sha-256=:{base64.b64encode(hashlib.sha256(PARTS[0]).digest()).decode()}:"
    damaged = PARTS[0][:-1] + bytes([PARTS[0][-1] ^ 1])
    answer = sent(damaged, right)
    assert (answer.status_code, answer.json()["code"]) == (400, "digest_mismatch")
    assert get(ann, upload_id).json()["parts"] == []
    for header in ("sha-256=abc", "sha-256=::", "sha-256=:AAAA:", "sha-256=:é:"):
        answer = sent(PARTS[0], header)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["Content-Digest"])
    assert sent(PARTS[0], right).status_code == 200
    assert get(ann, upload_id).json()["parts"] == [1]
    assert sent(damaged, right).status_code == 400
    assert get(ann, upload_id).json()["parts"] == [], "what came before may be overwritten"
    for number in (1, 2, 3):
        put(ann, upload_id, number)
    assert complete(ann, upload_id).status_code == 200


def test_a_part_that_breaks_off_is_not_kept_and_can_be_sent_again(ann: Person) -> None:
    upload_id = begun(ann)
    with pytest.raises(BodyIncomplete):
        uploads.put_part(
            actor=ann.actor,
            project=ann.project,
            upload_id=upload_id,
            number=1,
            stream=io.BytesIO(PARTS[0][:1000]),
            size=PART,
        )
    assert get(ann, upload_id).json()["parts"] == []
    for number in (1, 2, 3):
        put(ann, upload_id, number)
    assert complete(ann, upload_id).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "x"),
        ("sha256", "A" * 64),
        ("sha256", None),
        ("size", 0),
        ("size", -1),
        ("size", "many"),
        ("size", 2**70),
        ("part_size", PART - 1),
        ("part_size", 2**40),
        ("part_size", None),
    ],
)
def test_what_no_upload_can_have_is_refused_by_name(ann: Person, field: str, value: object) -> None:
    answer = begin(ann, **{field: value})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Upload.objects.exists()


def test_a_file_that_is_too_large_or_in_too_many_parts_is_refused(ann: Person, settings) -> None:
    answer = begin(ann, size=PART * 10_000 + 1)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["part_size"])
    settings.MAX_UPLOAD_BYTES = 1000
    assert begin(ann, size=1001).json()["code"] == "too_large"


def test_another_size_for_the_same_digest_is_a_conflict(ann: Person) -> None:
    upload_id = begun(ann)
    answer = begin(ann, size=5)
    assert (answer.status_code, answer.json()["code"], answer.json()["items"]) == (
        409,
        "upload_differs",
        [upload_id],
    )


def test_an_aborted_upload_is_gone_with_its_draft(ann: Person, store: LocalStore) -> None:
    upload_id = begun(ann)
    put(ann, upload_id, 1)
    assert drafts(store) == [upload_id]
    assert abort(ann, upload_id).status_code == 204
    assert (Upload.objects.count(), UploadPart.objects.count(), drafts(store)) == (0, 0, [])
    for answer in (abort(ann, upload_id), put(ann, upload_id, 1), complete(ann, upload_id)):
        assert (answer.status_code, answer.json()["code"]) == (404, "upload_not_found")


def test_an_upload_belongs_to_its_project(ann: Person) -> None:
    upload_id = begun(ann)
    for number in (1, 2, 3):
        put(ann, upload_id, number)
    beta = make_person(make_project("beta"))
    for act in (get, complete, abort):
        assert act(beta, upload_id).status_code == 404
    assert put(beta, upload_id, 1).status_code == 404
    assert begin(beta).json()["parts"] == []
    assert Upload.objects.count() == 2


def test_who_may_not_write_uploads_nothing(ann: Person) -> None:
    upload_id = begun(ann)
    for role, status in ((Role.VIEWER, 403), (None, 404)):
        person = make_person(ann.project, role)
        for act in (get, complete, abort):
            assert act(person, upload_id).status_code == status
        assert begin(person).status_code == status
        assert put(person, upload_id, 1).status_code == status
        assert person.api.get(f"{person.base}/blobs/uploads").status_code == status
    assert (Upload.objects.count(), UploadPart.objects.count()) == (1, 0)


def test_an_upload_whose_draft_is_lost_is_dropped_and_begun_again(ann: Person, store: LocalStore) -> None:
    for lose_at in ("part", "complete"):
        upload_id = begun(ann)
        for number in (1, 2, 3):
            put(ann, upload_id, number)
        (store.incoming / upload_id).unlink()
        answer = put(ann, upload_id, 1) if lose_at == "part" else complete(ann, upload_id)
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_lost")
        assert not Upload.objects.exists()


def test_while_it_is_completed_nobody_else_does_anything_with_it(ann: Person) -> None:
    upload_id = begun(ann)
    for number in (1, 2, 3):
        put(ann, upload_id, number)
    Upload.objects.update(busy_until=timezone.now() + timedelta(seconds=30))
    for answer in (put(ann, upload_id, 1), complete(ann, upload_id), abort(ann, upload_id)):
        assert (answer.status_code, answer.json()["code"]) == (503, "upload_busy")
        assert answer["Retry-After"]
    Upload.objects.update(busy_until=timezone.now())
    assert complete(ann, upload_id).status_code == 200


def test_a_part_that_is_on_its_way_when_the_bytes_are_hashed_changes_nothing(
    ann: Person, store: LocalStore
) -> None:
    """It would change a blob behind its digest."""
    upload_id = begun(ann)
    for number in (1, 2, 3):
        put(ann, upload_id, number)

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 2 << 20:
                assert complete(ann, upload_id).status_code == 200
            return super().read(size)

    evil = PARTS[0][: 2 << 20] + b"\0" * (PART - (2 << 20))
    with pytest.raises(DraftLost):
        uploads.put_part(
            actor=ann.actor,
            project=ann.project,
            upload_id=upload_id,
            number=1,
            stream=Slow(evil),
            size=PART,
        )
    with store.open(SHA) as file:
        assert sha(file.read()) == SHA
    assert Upload.objects.get().completed_at


def meanwhile(*functions: Any) -> list[Any]:
    start = threading.Barrier(len(functions))

    def run(function: Any) -> Any:
        start.wait()
        try:
            return function()
        except DomainError as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


@pytest.mark.django_db(transaction=True)
def test_many_who_begin_and_send_at_once_share_one_upload(ann: Person, store: LocalStore) -> None:
    ids = {answer.json()["id"] for answer in meanwhile(*[lambda: begin(ann)] * 8)}
    assert len(ids) == 1
    assert drafts(store) == [*ids]
    upload_id = ids.pop()
    sent = meanwhile(*[lambda n=n: put(ann, upload_id, n) for n in (1, 2, 3)] * 2)
    assert {answer.status_code for answer in sent} == {200}
    answers = meanwhile(*[lambda: complete(ann, upload_id)] * 4)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert complete(ann, upload_id).status_code == 200
    with store.open(SHA) as file:
        assert file.read() == CONTENT


@pytest.mark.django_db(transaction=True)
def test_a_slow_part_holds_no_database_connection(ann: Person) -> None:
    held: list[bool] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            held.append(connection.connection is not None)
            return super().read(size)

    upload_id = begun(ann)
    uploads.put_part(
        actor=ann.actor,
        project=ann.project,
        upload_id=upload_id,
        number=3,
        stream=Watched(PARTS[2]),
        size=len(PARTS[2]),
    )
    assert held
    assert not any(held)


def test_what_came_of_a_body_that_broke_off_is_gone_on_with(
    ann: Person, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PART_SIZE", PART)
    for came, parts in ((PART - 1, None), (2 * PART + 10, [1, 2])):
        with pytest.raises(BodyIncomplete):
            uploads.store_large_blob(
                actor=ann.actor,
                project=ann.project,
                sha256=SHA,
                stream=io.BytesIO(CONTENT[:came]),
                size=len(CONTENT),
            )
        found = ann.api.get(f"{ann.base}/blobs/uploads?sha256={SHA}").json()["results"]
        assert [each["parts"] for each in found] == ([parts] if parts else [])
        assert len(drafts(store)) == len(found)
    upload_id = begun(ann)
    assert upload_id == found[0]["id"]
    put(ann, upload_id, 3)
    assert complete(ann, upload_id).status_code == 200
    assert drafts(store) == []


def test_a_body_that_breaks_off_while_an_upload_is_open_leaves_that_one(
    ann: Person, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PART_SIZE", PART)
    upload_id = begun(ann)
    put(ann, upload_id, 3)
    with pytest.raises(BodyIncomplete):
        uploads.store_large_blob(
            actor=ann.actor,
            project=ann.project,
            sha256=SHA,
            stream=io.BytesIO(CONTENT[:-1]),
            size=len(CONTENT),
        )
    assert get(ann, upload_id).json()["parts"] == [3]
    assert drafts(store) == [upload_id]


def test_an_upload_that_nobody_goes_on_with_is_given_up(ann: Person, store: LocalStore, settings) -> None:
    settings.UPLOAD_HOURS = 5
    old, fresh, done = begun(ann), begun(ann, sha(b"fresh")), begun(ann, sha(PARTS[2]))
    Upload.objects.filter(public_id=done).update(completed_at=timezone.now())
    then = timezone.now() - timedelta(days=3)
    Upload.objects.exclude(public_id=fresh).update(touched_at=then)
    for draft in store.incoming.iterdir():
        os.utime(draft, (then.timestamp(), then.timestamp()))
    (store.incoming / done).unlink()
    assert collect.measure() == collect.Freed(0, 0, 0, 0, 1)
    assert Upload.objects.count() == 3
    assert collect.collect() == collect.Freed(0, 0, 0, 0, 1)
    assert list(Upload.objects.values_list("public_id", flat=True)) == [fresh]
    assert drafts(store) == [fresh]
    assert get(ann, old).status_code == 404


def test_the_collector_takes_a_draft_without_its_upload_only(ann: Person, store: LocalStore) -> None:
    kept, lost = begun(ann), begun(ann, sha(b"lost"))
    put(ann, kept, 1)
    Upload.objects.filter(public_id=lost).delete()
    then = timezone.now().timestamp() - 2 * 86400
    for draft in store.incoming.iterdir():
        os.utime(draft, (then, then))
    assert [each.name for each in Check(fast=True).findings()] == [f"incoming/{lost}"]
    assert collect.collect() == collect.Freed(0, 0, 1, 0, 0)
    assert drafts(store) == [kept]


def test_an_upload_that_is_being_completed_is_not_given_up(ann: Person) -> None:
    begun(ann)
    now = timezone.now()
    Upload.objects.update(touched_at=now - timedelta(days=9), busy_until=now + timedelta(minutes=1))
    assert collect.collect().uploads == 0
    assert Upload.objects.exists()
