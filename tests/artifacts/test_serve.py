"""Downloading: whole, in part, not at all when it is there already."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from artifacts.store import LocalStore, blob_store, key_of
from tests.factories import Person, make_person, make_project, make_run

pytestmark = pytest.mark.django_db
CONTENT = os.urandom(2_500_000)
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"))


@pytest.fixture
def url(ann: Person) -> str:
    run = make_run(ann, {"model/weights.pt": CONTENT, "empty": b"", "mödel <x>.html": b"<script>"})
    return f"{ann.base}/runs/{run.public_id}/artifacts"


def test_a_file_comes_whole_as_an_attachment_that_no_browser_runs(ann: Person, url: str) -> None:
    answer = ann.api.get(f"{url}/model/weights.pt")
    assert b"".join(answer) == CONTENT
    assert answer["Content-Length"] == str(len(CONTENT))
    assert (answer["ETag"], answer["Accept-Ranges"]) == (ETAG, "bytes")
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="weights.pt"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    named = ann.api.get(f"{url}/mödel <x>.html")
    assert named["Content-Disposition"].startswith("attachment; filename*=utf-8''m%C3%B6del")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=2499999-", 2_499_999, 2_499_999),
        ("bytes=-5", 2_499_995, 2_499_999),
        ("bytes=-9999999", 0, 2_499_999),
        ("bytes=1000000-99999999", 1_000_000, 2_499_999),
    ],
)
def test_a_range_comes_as_asked(ann: Person, url: str, asked: str, first: int, last: int) -> None:
    answer = ann.api.get(f"{url}/model/weights.pt", HTTP_RANGE=asked)
    assert answer.status_code == 206
    assert answer["Content-Range"] == f"bytes {first}-{last}/2500000"
    assert answer["Content-Length"] == str(last - first + 1)
    assert b"".join(answer) == CONTENT[first : last + 1]


@pytest.mark.parametrize("asked", ["bytes=2500000-", "bytes=9999999999-", "bytes=-0"])
def test_a_range_outside_of_the_file_is_refused_with_its_size(ann: Person, url: str, asked: str) -> None:
    answer = ann.api.get(f"{url}/model/weights.pt", HTTP_RANGE=asked)
    assert (answer.status_code, answer["Content-Range"]) == (416, "bytes */2500000")


@pytest.mark.parametrize(
    "asked", ["bytes=1-2,5-6", "bytes=5-1", "bytes=a-b", "lines=1-2", "bytes=", "bytes=-", "x"]
)
def test_a_range_that_is_none_is_answered_with_everything(ann: Person, url: str, asked: str) -> None:
    answer = ann.api.get(f"{url}/model/weights.pt", HTTP_RANGE=asked)
    assert answer.status_code == 200
    assert answer["Content-Length"] == "2500000"


def test_a_download_goes_on_only_in_the_file_that_it_began_with(ann: Person, url: str) -> None:
    path = f"{url}/model/weights.pt"
    assert ann.api.get(path, HTTP_RANGE="bytes=5-", HTTP_IF_RANGE=ETAG).status_code == 206
    assert ann.api.get(path, HTTP_RANGE="bytes=5-", HTTP_IF_RANGE='"other"').status_code == 200


def test_bytes_that_the_client_has_are_not_sent(ann: Person, url: str) -> None:
    for header in (ETAG, f"W/{ETAG}", f'"x", {ETAG}', "*"):
        answer = ann.api.get(f"{url}/model/weights.pt", HTTP_IF_NONE_MATCH=header)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer["ETag"] == ETAG
    assert ann.api.get(f"{url}/model/weights.pt", HTTP_IF_NONE_MATCH='"x"').status_code == 200


def test_head_tells_size_and_digest_and_sends_no_bytes(ann: Person, url: str) -> None:
    answer = ann.api.head(f"{url}/model/weights.pt")
    assert (answer.status_code, answer["Content-Length"], answer["ETag"]) == (200, "2500000", ETAG)
    assert answer.content == b""


def test_an_empty_file_comes_empty(ann: Person, url: str) -> None:
    answer = ann.api.get(f"{url}/empty")
    assert (answer.status_code, answer["Content-Length"], answer.content) == (200, "0", b"")
    assert ann.api.get(f"{url}/empty", HTTP_RANGE="bytes=0-").status_code == 416


def test_bytes_that_the_store_lost_are_an_error_that_names_them(ann: Person, url: str) -> None:
    store = blob_store()
    assert isinstance(store, LocalStore)
    (store.root / key_of(ETAG.strip('"'))).unlink()
    answer = ann.api.get(f"{url}/model/weights.pt")
    assert (answer.status_code, answer.json()["code"]) == (500, "bytes_lost")
    assert ETAG.strip('"') in answer.json()["detail"]


def test_a_stranger_downloads_nothing(ann: Person, url: str) -> None:
    assert make_person(make_project("beta")).api.get(f"{url}/model/weights.pt").status_code == 404


@pytest.mark.parametrize(
    "path", ["model", "model/", "../x", "model/../empty", "%2e%2e/x", "..%2fx", "model%00", "/empty", "x"]
)
def test_a_path_that_the_run_does_not_have_is_not_found(ann: Person, url: str, path: str) -> None:
    assert ann.api.get(f"{url}/{path}").status_code in (400, 404)


def test_a_front_server_is_told_where_the_bytes_lie(ann: Person, url: str, settings: Any) -> None:
    settings.DOWNLOADS = "nginx"
    answer = ann.api.get(f"{url}/model/weights.pt", headers={"Range": "bytes=5-"})
    assert answer.status_code == 200
    assert answer["X-Accel-Redirect"] == f"/-/blobs/{key_of(ETAG[1:-1])}"
    assert answer["Content-Disposition"] == 'attachment; filename="weights.pt"'
    assert answer.content == b""
    assert ann.api.head(f"{url}/model/weights.pt")["Content-Length"] == str(len(CONTENT))
    assert "X-Accel-Redirect" not in ann.api.get(f"{url}/empty")
    stranger = make_person(make_project("beta"))
    refused = stranger.api.get(f"{url}/model/weights.pt")
    assert refused.status_code == 404 and "X-Accel-Redirect" not in refused
