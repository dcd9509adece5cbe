"""Uploading bytes through REST, and what must not get in or out."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test import RequestFactory

from accounts.choices import Role, Scope
from artifacts import services
from artifacts.models import Blob, ProjectBlob
from artifacts.store import LocalStore, blob_store
from common.errors import Invalid
from tests.factories import Person, make_person, make_project, make_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_store")]


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(person: Person, content: bytes, digest: str = "", **headers: Any):
    path = f"{person.base}/blobs/{digest or sha(content)}"
    return person.api.generic("PUT", path, content, content_type="application/octet-stream", **headers)


def missing(person: Person, *digests: object):
    return person.api.post(f"{person.base}/blobs/missing", {"sha256": list(digests)}, format="json")


def drafts() -> list[str]:
    store = blob_store()
    assert isinstance(store, LocalStore)
    return [path.name for path in store.incoming.iterdir()] if store.incoming.exists() else []


def test_bytes_are_missing_until_they_were_uploaded(ann: Person) -> None:
    content = os.urandom(3_000_000)
    assert missing(ann, sha(content)).json()["missing"] == [sha(content)]
    answer = put(ann, content)
    assert (answer.status_code, answer.json()) == (200, {"sha256": sha(content), "size": 3_000_000})
    assert missing(ann, sha(content)).json()["missing"] == []
    with services.open_blob(Blob.objects.get(sha256=sha(content))) as file:
        assert file.read() == content


def test_an_empty_file_is_a_file(ann: Person) -> None:
    assert put(ann, b"", CONTENT_LENGTH="0").json() == {"sha256": sha(b""), "size": 0}


def test_uploading_twice_keeps_one_copy(ann: Person) -> None:
    for _ in range(2):
        assert put(ann, b"same").status_code == 200
    assert (Blob.objects.count(), ProjectBlob.objects.count()) == (1, 1)


def test_a_body_of_any_content_type_is_taken_as_bytes(ann: Person) -> None:
    content = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n"
    for content_type in (
        "application/json",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        answer = ann.api.generic(
            "PUT", f"{ann.base}/blobs/{sha(content)}", content, content_type=content_type
        )
        assert answer.status_code == 200, answer.json()


def test_a_wrong_digest_is_refused_and_nothing_is_kept(ann: Person) -> None:
    answer = put(ann, b"these bytes", sha(b"other bytes"))
    assert (answer.status_code, answer.json()["code"]) == (400, "digest_mismatch")
    assert sha(b"these bytes") in answer.json()["detail"]
    assert not Blob.objects.exists()
    assert blob_store().size(sha(b"other bytes")) is None
    assert drafts() == []


def test_a_body_shorter_than_announced_is_refused_and_nothing_is_kept(ann: Person) -> None:
    request = RequestFactory().generic("PUT", "/", b"half")
    with pytest.raises(Invalid) as refusal:
        services.store_blob(
            actor=ann.actor, project=ann.project, sha256=sha(b"half"), stream=request, size=1000
        )
    assert refusal.value.code == "body_incomplete"
    assert not Blob.objects.exists()
    assert drafts() == []


def test_a_connection_that_breaks_is_a_refusal_and_nothing_is_kept(ann: Person) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("Connection reset by peer")

    with pytest.raises(Invalid) as refusal:
        services.store_blob(actor=ann.actor, project=ann.project, sha256=sha(b"x"), stream=Broken(), size=1)
    assert refusal.value.code == "body_incomplete"
    assert not Blob.objects.exists()


def test_a_file_over_the_limit_is_refused_before_and_while_it_is_read(ann: Person, settings) -> None:
    settings.MAX_UPLOAD_BYTES = 10
    answer = put(ann, b"eleven bytes")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    with pytest.raises(Exception, match="larger than 10 bytes"):
        stream = io.BytesIO(b"eleven bytes")
        services.store_blob(actor=ann.actor, project=ann.project, sha256=sha(b"x"), stream=stream, size=None)
    assert not Blob.objects.exists()


def test_a_body_without_a_length_is_refused(ann: Person) -> None:
    answer = put(ann, b"x", CONTENT_LENGTH="")
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


@pytest.mark.parametrize("digest", ["x", "a" * 63, "A" * 64, "g" * 64, "a" * 65, "..", "%00" + "a" * 61])
def test_what_is_no_digest_is_refused_by_name(ann: Person, digest: str) -> None:
    answer = put(ann, b"x", digest)
    assert answer.status_code == 400
    assert "sha256" in answer.json()["errors"]
    assert {field.partition(".")[0] for field in missing(ann, digest).json()["errors"]} == {"sha256"}


@pytest.mark.parametrize(
    "body",
    [{}, {"sha256": None}, {"sha256": "a" * 64}, {"sha256": [None]}, {"sha256": [{}]}, {"sha256": ["\0"]}],
)
def test_what_is_no_list_of_digests_is_refused_by_name(ann: Person, body: dict[str, Any]) -> None:
    answer = ann.api.post(f"{ann.base}/blobs/missing", body, format="json")
    assert answer.status_code == 400
    assert any(field.startswith("sha256") for field in answer.json()["errors"])


def test_more_than_a_thousand_digests_at_once_are_refused(ann: Person) -> None:
    assert missing(ann, *[sha(str(n).encode()) for n in range(1000)]).status_code == 200
    assert missing(ann, *[sha(str(n).encode()) for n in range(1001)]).status_code == 400


def test_knowing_a_digest_of_another_project_gives_nothing(ann: Person) -> None:
    secret = b"weights of beta"
    assert put(make_person(make_project("beta")), secret).status_code == 200
    assert missing(ann, sha(secret)).json()["missing"] == [sha(secret)]
    assert services.held_blobs(ann.project, [sha(secret)]) == {}
    lie = put(ann, b"x", sha(secret))
    assert lie.json()["code"] == "digest_mismatch"
    assert services.held_blobs(ann.project, [sha(secret)]) == {}
    with services.open_blob(Blob.objects.get(sha256=sha(secret))) as file:
        assert file.read() == secret
    assert put(ann, secret).status_code == 200
    assert list(services.held_blobs(ann.project, [sha(secret)])) == [sha(secret)]
    assert Blob.objects.count() == 1


def test_who_may_not_write_uploads_nothing(ann: Person) -> None:
    viewer = make_person(ann.project, Role.VIEWER)
    reading = make_person(ann.project, Role.ADMIN, scopes=[Scope.READ])
    stranger = make_person(ann.project, None)
    for person, status in ((viewer, 403), (reading, 403), (stranger, 404)):
        assert put(person, b"x").status_code == status
        assert missing(person, sha(b"x")).status_code == status
    assert not Blob.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_bytes_uploaded_at_once_are_kept_once(ann: Person) -> None:
    beta = make_person(make_project("beta"))
    content = os.urandom(100_000)

    def one(number: int) -> int:
        try:
            return put((ann, beta)[number % 2], content).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(24))) == {200}
    assert (Blob.objects.count(), ProjectBlob.objects.count()) == (1, 2)


@pytest.mark.django_db(transaction=True)
def test_a_slow_upload_and_a_slow_download_hold_no_database_connection(ann: Person) -> None:
    held: list[bool] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            held.append(connection.connection is not None)
            return super().read(size)

    services.store_blob(
        actor=ann.actor, project=ann.project, sha256=sha(b"bytes"), stream=Watched(b"bytes"), size=5
    )
    assert held == [False, False]
    run = make_run(ann, {"file": b"bytes"})
    answer = ann.api.get(f"{ann.base}/runs/{run.public_id}/artifacts/file")
    assert connection.connection is None
    assert b"".join(answer) == b"bytes"
