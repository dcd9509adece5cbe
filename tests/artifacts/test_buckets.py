"""What only buckets do: they go on where they broke off, and speak to clients by themselves."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from artifacts.store import GOOGLE, DirectStore, Draft, S3Store, blob_store, store_at
from common.errors import Busy
from podstack import MLOpsClient
from podstack.files import parts, sending
from tests.artifacts.stores import KEYS, NOWHERE, begun, leftovers, pieces, put_parts, sha
from tests.factories import make_person, make_project, make_run


@pytest.mark.slow
def test_a_bucket_goes_on_where_completing_broke_off_and_copies_in_pieces(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(s3_url)
    monkeypatch.setattr(store, "copied_at_once", 6 << 20)
    content = os.urandom(16 << 20)
    draft, parts = begun(store, content)
    tags = put_parts(store, draft, parts)

    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.complete(draft, tags, sha(content), killed)
    assert [each.name for each in store.unfinished()] == ["incoming/up-0123456789ab"]
    assert [each.name for each in store.dead_drafts(datetime.now(UTC) + timedelta(minutes=1))] == [
        "incoming/up-0123456789ab"
    ]
    store.complete(draft, tags, sha(content), lambda: None)
    with store.open(sha(content)) as file:
        assert file.read() == content
    assert leftovers(store) == []
    assert list(store.unfinished()) == []


def test_a_bucket_that_does_not_answer_asks_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Busy) as refusal:
        store_at(NOWHERE).put(pieces(b"x"), sha(b"x"), 1)
    assert refusal.value.retry_after


@pytest.mark.slow
def test_a_bucket_gives_the_bytes_at_an_address_of_its_own_and_refuses_one_that_was_changed(
    cloud_url: str,
) -> None:
    store = store_at(cloud_url)
    assert isinstance(store, DirectStore)
    content = os.urandom(100_000)
    store.put(pieces(content), sha(content), len(content))
    address = store.address_of(sha(content), "mödel.bin", 60)
    answer = requests.get(address, timeout=10)
    assert answer.content == content
    assert answer.headers["Content-Disposition"].startswith("attachment; filename*=utf-8''m%C3%B6del")
    part = requests.get(address, headers={"Range": "bytes=99990-"}, timeout=10)
    assert (part.status_code, part.content) == (206, content[99_990:])
    other = content[::-1]
    store.put(pieces(other), sha(other), len(other))
    later = re.sub(
        r"Expires=60|\bse=20", lambda found: {"se=20": "se=21"}.get(found[0], "Expires=61"), address
    )
    for changed in (address.replace(sha(content), sha(other)), later):
        assert changed != address
        assert requests.get(changed, timeout=10).status_code == 403


def token_in(request: Any) -> bool:
    """Whether a person's token goes along; the server speaks to its storage by the same library."""
    return str(request.headers.get("Authorization", "")).startswith("Bearer")


def is_signed(url: str) -> bool:
    return "X-Amz-Signature=" in url or "&sig=" in url


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_sdk_downloads_from_the_bucket_and_keeps_its_token_to_itself(
    cloud_url: str, settings: Any, live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STORAGE_URL, settings.DOWNLOADS = cloud_url, "presign"
    ann = make_person(make_project("alpha"))
    content = os.urandom(600_000)
    run = make_run(ann, {"weights.bin": content})
    asked: list[tuple[str, bool]] = []
    plain = requests.Session.send

    def send(session: Any, request: Any, **options: Any) -> Any:
        asked.append((request.url, token_in(request)))
        return plain(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", send)
    monkeypatch.setenv("PODSTACK_CACHE_DIR", str(tmp_path / "cache"))
    client = MLOpsClient(ann.token, live_server.url, "alpha")
    client.download_artifacts(run.public_id, tmp_path / "down")
    assert (tmp_path / "down" / "weights.bin").read_bytes() == content
    outside = [told for url, told in asked if is_signed(url)]
    assert outside == [False]


@pytest.fixture
def direct(
    cloud_url: str, settings: Any, live_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """A server whose clients put large files into the bucket themselves, "large" being from one byte on."""
    settings.STORAGE_URL, settings.UPLOADS = cloud_url, "presign"
    monkeypatch.setenv("PODSTACK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sending, "LARGE_DIRECT", 1)
    monkeypatch.setattr(parts, "PART_SIZE", 5 << 20)
    return live_server


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    """(method, address, whether a token went along) of each request that the SDK sends."""
    seen: list[tuple[str, str, bool]] = []
    plain = requests.Session.send

    def send(session: Any, request: Any, **options: Any) -> Any:
        seen.append((request.method, request.url, token_in(request)))
        return plain(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", send)
    return seen


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_sdk_puts_large_files_into_the_bucket_itself_and_keeps_its_token_to_itself(
    direct: Any, asked: list[tuple[str, str, bool]], tmp_path: Path
) -> None:
    ann = make_person(make_project("alpha"))
    content = os.urandom((12 << 20) + 7)
    (tmp_path / "weights.bin").write_bytes(content)
    client = MLOpsClient(ann.token, direct.url, "alpha")
    with client.start_run("exp") as run:
        run.log_artifact(tmp_path / "weights.bin")
    put = [
        (url.startswith(direct.url), token)
        for method, url, token in asked
        if method == "PUT" and is_signed(url)
    ]
    assert put == [(False, False)] * 3
    client.download_artifacts(run.id, tmp_path / "down")
    assert (tmp_path / "down" / "weights.bin").read_bytes() == content
    assert leftovers(blob_store()) == []


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_parts_that_came_into_the_bucket_are_not_sent_again_by_another_process(
    direct: Any, asked: list[tuple[str, str, bool]], tmp_path: Path
) -> None:
    ann = make_person(make_project("alpha"))
    content = os.urandom(12 << 20)
    (tmp_path / "weights.bin").write_bytes(content)
    body = {"sha256": sha(content), "size": len(content), "part_size": 5 << 20}
    upload = ann.api.post(f"{ann.base}/blobs/uploads", body, format="json").json()
    path = f"{ann.base}/blobs/uploads/{upload['id']}"
    found = ann.api.post(f"{path}/addresses", {"numbers": [1, 2]}, format="json").json()["addresses"]
    assert requests.put(found[0]["url"], content[: 5 << 20], timeout=30).ok
    requests.put(found[1]["url"], b"too short", timeout=30)
    assert ann.api.get(path).json()["parts"] == [1]
    answer = ann.api.post(f"{path}/complete")
    assert (answer.status_code, answer.json()["items"]) == (409, ["2", "3"])
    del asked[:]
    client = MLOpsClient(ann.token, direct.url, "alpha")
    with client.start_run("exp") as run:
        run.log_artifact(tmp_path / "weights.bin")
    assert len([url for method, url, _ in asked if method == "PUT" and is_signed(url)]) == 2


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_other_bytes_put_into_the_bucket_become_no_blob(direct: Any) -> None:
    ann = make_person(make_project("alpha"))
    body = {"sha256": sha(b"a" * 1000), "size": 1000, "part_size": 5 << 20}
    upload = ann.api.post(f"{ann.base}/blobs/uploads", body, format="json").json()
    path = f"{ann.base}/blobs/uploads/{upload['id']}"
    (address,) = ann.api.post(f"{path}/addresses", {"numbers": [1]}, format="json").json()["addresses"]
    assert address["size"] == 1000
    assert requests.put(address["url"], b"b" * 1000, timeout=30).ok
    answer = ann.api.post(f"{path}/complete")
    assert (answer.status_code, answer.json()["code"]) == (400, "digest_mismatch")
    requests.put(address["url"], b"a" * 1000, timeout=30)
    assert ann.api.post(f"{path}/complete").status_code == 404
    for numbers in ([0], [2], [], list(range(1, 200))):
        answer = ann.api.post(f"{path}/addresses", {"numbers": numbers}, format="json")
        assert answer.status_code in (400, 404)


def test_googles_storage_is_spoken_to_as_a_bucket_of_the_protocol_that_it_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    store = store_at("gs://our-models/registry")
    assert isinstance(store, S3Store)
    address = store.part_address(Draft("up-1", "id", 10, 10), 1, 10, 60)
    assert address.startswith(f"{GOOGLE}/our-models/registry/incoming/up-1?")
    assert "X-Amz-Signature=" in address
