"""Many small files in one request, up and down."""

from __future__ import annotations

import hashlib
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role, Scope
from artifacts import frames, services
from artifacts.errors import BodyIncomplete
from artifacts.models import Blob, ProjectBlob
from artifacts.store import LocalStore, blob_store, key_of
from tests.factories import Person, make_person, make_project, make_run, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_store")]


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def framed(*contents: bytes) -> bytes:
    return b"".join(f"{sha(content)} {len(content)}\n".encode() + content for content in contents)


def post(person: Person, body: bytes, **headers: Any):
    path = f"{person.base}/blobs/batch"
    return person.api.generic("POST", path, body, content_type="application/octet-stream", **headers)


def drafts() -> list[str]:
    store = blob_store()
    assert isinstance(store, LocalStore)
    return [path.name for path in store.incoming.iterdir()] if store.incoming.exists() else []


def test_many_files_are_stored_by_one_request(ann: Person) -> None:
    contents = [os.urandom(size) for size in (0, 1, 10_240, 300_000, 1 << 20)] + [b"a\nb 1\n"] * 2
    answer = post(ann, framed(*contents))
    assert (answer.status_code, answer.json()) == (200, {"stored": 6})
    held = services.held_blobs(ann.project, map(sha, contents))
    for content in contents:
        assert held[sha(content)].size == len(content)
        with services.open_blob(held[sha(content)]) as file:
            assert file.read() == content
    assert post(ann, framed(*contents), HTTP_IDEMPOTENCY_KEY="again").json() == {"stored": 6}
    assert (Blob.objects.count(), ProjectBlob.objects.count()) == (6, 6)
    assert drafts() == []


def test_nothing_is_a_batch_too(ann: Person) -> None:
    assert post(ann, b"", CONTENT_LENGTH="0").json() == {"stored": 0}


def test_a_hundred_files_cost_as_few_queries_as_one(ann: Person) -> None:
    def queries(count: int) -> int:

        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert post(ann, framed(*[os.urandom(20) for _ in range(count)])).status_code == 200
        return len(caught)

    post(ann, framed(b"first"))
    assert queries(100) == queries(1)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (framed(b"good") + framed(b"other").replace(b"other", b"oTher"), "digest_mismatch"),
        (framed(b"good") + framed(b"cut off")[:-1], "body_incomplete"),
        (framed(b"good") + framed(b"cut off")[:30], "invalid"),
        (framed(b"good") + b"x", "invalid"),
        (framed(b"good") + b"\n", "invalid"),
        (b"\0" * 1000, "invalid"),
        (sha(b"").upper().encode() + b" 0\n", "invalid"),
        (sha(b"").encode() + b" 00\n", "invalid"),
        (sha(b"").encode() + b" -1\n", "invalid"),
        (sha(b"x").encode() + b" 99999999999\nx", "invalid"),
        (sha(b"x").encode() + b" 1048577\nx", "too_large"),
        (framed(*[str(n).encode() for n in range(1001)]), "invalid"),
    ],
)
def test_one_bad_frame_refuses_the_whole_batch(ann: Person, body: bytes, code: str) -> None:
    answer = post(ann, body)
    assert answer.status_code == (413 if code == "too_large" else 400)
    assert answer.json()["code"] == code
    assert not Blob.objects.exists()
    assert blob_store().size(sha(b"good")) is None
    assert drafts() == []


def test_a_batch_over_16_mib_or_without_a_length_is_refused_unread(ann: Person) -> None:
    assert post(ann, b"x", CONTENT_LENGTH=str(frames.MAX_BODY + 1)).status_code == 413
    assert post(ann, b"x", CONTENT_LENGTH="").status_code == 411


def test_a_body_shorter_than_announced_is_refused_and_nothing_is_kept(ann: Person) -> None:
    for body in (framed(b"half"), framed(b"half") + b"abc", framed(b"half")[:-2], b""):
        with pytest.raises(BodyIncomplete):
            services.store_blobs(actor=ann.actor, project=ann.project, stream=io.BytesIO(body), size=5000)
    assert not Blob.objects.exists()
    assert drafts() == []


def test_who_may_not_write_stores_nothing(ann: Person) -> None:
    viewer = make_person(ann.project, Role.VIEWER)
    reading = make_person(ann.project, Role.ADMIN, scopes=[Scope.READ])
    stranger = make_person(ann.project, None)
    for person, status in ((viewer, 403), (reading, 403), (stranger, 404)):
        assert post(person, framed(b"x")).status_code == status
    assert not Blob.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_files_in_many_batches_at_once_are_kept_once(ann: Person) -> None:
    contents = [os.urandom(1000) for _ in range(50)]

    def one(number: int) -> int:
        try:
            mixed = contents[number:] + contents[:number]
            return post(ann, framed(*mixed)).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(16))) == {200}
    assert (Blob.objects.count(), ProjectBlob.objects.count()) == (50, 50)


FILES = {"a.txt": b"aaa", "empty": b"", "deep/b ü.bin": os.urandom(300_000), "same": b"aaa"}


@pytest.fixture(params=["run", "version"])
def url(request: pytest.FixtureRequest, ann: Person) -> str:
    files = {**FILES, "large": b"\0" * ((1 << 20) + 1)}
    if request.param == "run":
        run = make_run(ann, files)
        return f"{ann.base}/runs/{run.public_id}/read-artifacts"
    version = make_version(ann, files={f"model/{path}": content for path, content in files.items()})
    return f"{ann.base}/models/{version.model.name}/versions/{version.number}/read-artifacts"


def read(person: Person, url: str, paths: Any):
    return person.api.post(url, json.dumps({"paths": paths}), content_type="application/json")


def test_many_files_come_in_one_answer_in_the_order_asked(ann: Person, url: str) -> None:
    paths = ["same", "deep/b ü.bin", "empty", "a.txt"]
    answer = read(ann, url, paths)
    body = b"".join(answer)
    assert body == framed(*[FILES[path] for path in paths])
    assert answer["Content-Length"] == str(len(body))
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("paths", "status"),
    [
        ([], 400),
        ("a.txt", 400),
        (None, 400),
        ([None], 400),
        ([{}], 400),
        (["../x"], 400),
        (["a\0"], 400),
        (["\ud800"], 400),
        (["/a.txt"], 400),
        ([" a.txt"], 404),
        (["a.txt", "nothing"], 404),
        (["deep"], 404),
        (["large"], 413),
        (["a.txt"] * 1001, 400),
    ],
)
def test_what_cannot_be_read_together_is_refused(ann: Person, url: str, paths: Any, status: int) -> None:
    assert read(ann, url, paths).status_code == status


def test_more_than_16_mib_at_once_is_refused(ann: Person, url: str) -> None:
    answer = read(ann, url, ["deep/b ü.bin"] * 100)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_stranger_reads_nothing_and_a_viewer_may(ann: Person, url: str) -> None:
    assert read(make_person(make_project("beta")), url, ["a.txt"]).status_code == 404
    assert b"".join(read(make_person(ann.project, Role.VIEWER), url, ["a.txt"])) == framed(b"aaa")


def test_bytes_that_the_store_lost_break_the_answer_off(ann: Person, url: str) -> None:
    store = blob_store()
    assert isinstance(store, LocalStore)
    (store.root / key_of(sha(b"aaa"))).unlink()
    with pytest.raises(Exception, match="missing from storage"):
        b"".join(read(ann, url, ["a.txt"]))
