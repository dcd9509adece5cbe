"""What every store promises, on a folder and on a real S3 server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import override_settings

from artifacts.errors import BytesLost, DigestMismatch, DraftLost, StoreFull
from artifacts.store import (
    GOOGLE,
    PART,
    AzureStore,
    BlobStore,
    DirectStore,
    Draft,
    LocalStore,
    S3Store,
    blob_store,
    key_of,
    store_at,
)
from common.errors import Busy
from launcher.ports import answers, free_port
from podstack import MLOpsClient
from podstack.files import parts, sending
from tests.factories import make_person, make_project, make_run

NOWHERE = "s3://blobs/p?endpoint_url=http://127.0.0.1:1&region=us-east-1"
PORTS = [f"{name}.port{kind}" for name in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
AZURE_KEY = base64.b64encode(b"a key of the tests alone").decode()
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pieces(content: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """A bucket on an S3 server of its own, with keys in the environment."""
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    ports = {name: free_port() for name in PORTS}
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": "key", "secretKey": "secret"}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    program = shutil.which(
        "weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    assert program, "weed is missing: install requirements/dev.txt"
    command = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [
        f"-s3.config={folder / 's3.json'}",
        "-master.volumeSizeLimitMB=256",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in KEYS.items():
                patch.setenv(name, value)
            url = f"s3://blobs/some/prefix?endpoint_url=http://127.0.0.1:{ports['s3.port']}&region=us-east-1"
            _make_bucket(url, folder / "log")
            yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _make_bucket(url: str, log: Path) -> None:
    store = store_at(url)
    assert isinstance(store, S3Store)
    deadline = time.monotonic() + 60
    while True:
        try:
            store.client.create_bucket(Bucket=store.bucket)
            store.client.put_object(Bucket=store.bucket, Key="probe", Body=b"probe")
            return
        except Exception as error:
            if time.monotonic() > deadline:
                raise AssertionError(log.read_text()[-2000:]) from error
            time.sleep(0.2)


@pytest.fixture(scope="module")
def azure_url() -> Iterator[str]:
    """A container on a server that speaks Azure's protocol, its connection string in the settings."""
    program = Path(__file__).parents[1] / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    assert program.exists(), "azurite is missing: `make test` installs it, or `npm ci --prefix tests/azurite`"
    folder, port = Path(tempfile.mkdtemp(prefix="azure-")), free_port()
    command = [str(program), "--blobPort", str(port), "--location", str(folder), "--skipApiVersionCheck"]
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--disableTelemetry"],
            stdout=log,
            stderr=log,
            env={"PATH": search, "AZURITE_ACCOUNTS": f"team:{AZURE_KEY}"},
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}/team"
    try:
        with override_settings(
            AZURE_STORAGE_CONNECTION_STRING="DefaultEndpointsProtocol=http;AccountName=team;"
            f"AccountKey={AZURE_KEY};BlobEndpoint={address};"
        ):
            _listens(port, folder / "log")
            _make_container("azure://blobs/some/prefix", folder / "log")
            yield "azure://blobs/some/prefix"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the program of that name starts the server as its child
        process.wait()
        store_at.cache_clear()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int, log: Path) -> None:
    """Waits for the server before a client of theirs does, which would wait longer and longer between its tries."""
    deadline = time.monotonic() + 60
    while not answers(port):
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def _make_container(url: str, log: Path) -> None:
    store = store_at(url)
    assert isinstance(store, AzureStore)
    deadline = time.monotonic() + 60
    while True:
        try:
            store.client.create_container()
            return
        except Exception as error:
            if time.monotonic() > deadline:
                raise AssertionError(log.read_text()[-2000:]) from error
            time.sleep(0.2)


CLOUDS = ["s3_url", "azure_url"]


@pytest.fixture(params=CLOUDS)
def cloud_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture(params=["folder", *(pytest.param(cloud, marks=pytest.mark.slow) for cloud in CLOUDS)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param in CLOUDS:
        return store_at(request.getfixturevalue(request.param))
    return store_at((tmp_path / "a folder" / "blobs").as_uri())


@pytest.mark.parametrize("size", [0, 1, 1 << 20, PART - 1, PART, PART + 1, 2 * PART + 12345])
def test_bytes_come_back_as_they_went_in(store: BlobStore, size: int) -> None:
    content = os.urandom(size)
    assert store.put(pieces(content), sha(content), size) == size
    assert store.size(sha(content)) == size
    with store.open(sha(content)) as file:
        assert file.read() == content


def test_reading_can_start_in_the_middle(store: BlobStore) -> None:
    content = os.urandom(100_000)
    store.put(pieces(content), sha(content), len(content))
    with store.open(sha(content), 99_990) as file:
        assert file.read(1 << 20) == content[99_990:]


@pytest.mark.parametrize("size", [10, PART + 10])
def test_bytes_with_another_digest_are_refused_and_never_seen(store: BlobStore, size: int) -> None:
    content = os.urandom(size)
    claimed = sha(b"something else" + content)
    with pytest.raises(DigestMismatch, match=sha(content)):
        store.put(pieces(content), claimed, size)
    assert store.size(claimed) is None
    assert store.size(sha(content)) is None
    assert leftovers(store) == []


@pytest.mark.parametrize("size", [10, 2 * PART])
def test_an_upload_that_breaks_off_leaves_nothing_behind(store: BlobStore, size: int) -> None:
    content = os.urandom(size)

    def broken() -> Iterator[bytes]:
        yield from pieces(content)
        raise ConnectionError("the client went away")

    with pytest.raises((ConnectionError, Busy)):
        store.put(broken(), sha(content), size)
    assert store.size(sha(content)) is None
    assert leftovers(store) == []


def test_bytes_are_not_seen_before_the_last_one_came(store: BlobStore) -> None:
    content = os.urandom(PART + 100)
    seen: list[int | None] = []

    def watched() -> Iterator[bytes]:
        for piece in pieces(content):
            seen.append(store.size(sha(content)))
            yield piece

    store.put(watched(), sha(content), len(content))
    assert set(seen) == {None}
    assert store.size(sha(content)) == len(content)


def test_the_same_bytes_stored_again_repair_what_was_there(store: BlobStore) -> None:
    content = os.urandom(1000)
    for _ in range(2):
        store.put(pieces(content), sha(content), 1000)
    damage(store, sha(content))
    store.put(pieces(content), sha(content), 1000)
    with store.open(sha(content)) as file:
        assert file.read() == content


def test_what_was_deleted_is_lost_and_deleting_twice_is_fine(store: BlobStore) -> None:
    store.put(pieces(b"x"), sha(b"x"), 1)
    store.delete(sha(b"x"))
    store.delete(sha(b"x"))
    assert store.size(sha(b"x")) is None
    with pytest.raises(BytesLost):
        store.open(sha(b"x"))


def test_all_that_is_stored_can_be_listed_in_order(store: BlobStore) -> None:
    contents = {sha(content): content for content in (os.urandom(n) for n in (0, 1, 1000, PART + 1))}
    begun = datetime.now(UTC) - timedelta(seconds=5)
    for digest, content in contents.items():
        store.put(pieces(content), digest, len(content))
    found = [stored for stored in store.walk() if stored.sha256 in contents]
    assert [stored.sha256 for stored in found] == sorted(contents)
    for stored in found:
        assert (stored.name, stored.size) == (key_of(stored.sha256), len(contents[stored.sha256]))
        assert begun < stored.modified_at < datetime.now(UTC) + timedelta(seconds=5)
    store.delete(found[0].sha256)
    assert found[0].sha256 not in {stored.sha256 for stored in store.walk()}


@pytest.mark.parametrize("name", ["README", "ab/cd/notes", f"00/00/{'a' * 64}", f"{'b' * 64}"])
def test_what_is_no_blob_is_listed_without_a_digest(store: BlobStore, name: str) -> None:
    leave(store, name, b"stray")
    found = [stored for stored in store.walk() if stored.name == name]
    assert [(stored.sha256, stored.size) for stored in found] == [("", 5)]


def test_an_upload_that_runs_is_listed_as_unfinished_and_not_as_stored(store: BlobStore) -> None:
    content = os.urandom(2 * PART)
    seen: list[tuple[int, int]] = []

    def watched() -> Iterator[bytes]:
        for piece in pieces(content):
            stored = sum(each.sha256 == sha(content) for each in store.walk())
            seen.append((stored, len(list(store.unfinished()))))
            yield piece

    store.put(watched(), sha(content), len(content))
    assert seen[-1] == (0, 0 if isinstance(store, AzureStore) else 1)
    assert list(store.unfinished()) == []


def test_an_empty_store_lists_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "nowhere")
    assert [*store.walk(), *store.unfinished()] == []


def test_many_may_store_the_same_bytes_at_once(store: BlobStore) -> None:
    content = os.urandom(200_000)
    errors: list[Exception] = []

    def put() -> None:
        try:
            store.put(pieces(content, 10_000), sha(content), len(content))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with store.open(sha(content)) as file:
        assert file.read() == content


def begun(store: BlobStore, content: bytes, name: str = "up-0123456789ab") -> tuple[Draft, list[bytes]]:
    """A draft of parts of 5 MiB, and the parts."""
    size = 5 << 20
    return Draft(name, store.begin(name), len(content), size), list(pieces(content, size))


def put_parts(store: BlobStore, draft: Draft, parts: list[bytes]) -> list[str]:
    """All of them, the last one first; their tags in order."""
    last_first = [(number, parts[number - 1]) for number in range(len(parts), 0, -1)]
    return [store.put_part(draft, number, pieces(part)) for number, part in last_first][::-1]


@pytest.mark.parametrize("size", [1, 5 << 20, (10 << 20) + 1])
def test_parts_in_any_order_are_stored_when_they_are_completed(store: BlobStore, size: int) -> None:
    content = os.urandom(size)
    draft, parts = begun(store, content)
    tags = put_parts(store, draft, parts)
    tags[0] = store.put_part(draft, 1, pieces(parts[0]))
    assert store.size(sha(content)) is None
    assert sha(content) not in {each.sha256 for each in store.walk()}
    alive: list[bool] = []
    store.complete(draft, tags, sha(content), lambda: alive.append(True))
    assert alive
    with store.open(sha(content)) as file:
        assert file.read() == content
    assert leftovers(store) == []
    assert list(store.unfinished()) == []


def test_parts_with_another_digest_are_thrown_away(store: BlobStore) -> None:
    content = os.urandom(1000)
    draft, parts = begun(store, content)
    tags = put_parts(store, draft, parts)
    with pytest.raises(DigestMismatch, match=sha(content)):
        store.complete(draft, tags, sha(b"other"), lambda: None)
    assert (store.size(sha(b"other")), store.size(sha(content))) == (None, None)
    assert leftovers(store) == []
    assert list(store.unfinished()) == []


def test_a_draft_that_is_gone_takes_nothing_and_is_not_completed(store: BlobStore) -> None:
    draft, parts = begun(store, b"x")
    tags = put_parts(store, draft, parts)
    for _ in range(2):
        store.abort(draft)
    with pytest.raises(DraftLost):
        store.put_part(draft, 1, [b"x"])
    with pytest.raises(DraftLost):
        store.complete(draft, tags, sha(b"x"), lambda: None)
    assert store.size(sha(b"x")) is None
    assert leftovers(store) == []


def test_a_part_that_breaks_off_can_be_sent_again(store: BlobStore) -> None:
    content = os.urandom(2 << 20)
    draft, parts = begun(store, content)

    def broken() -> Iterator[bytes]:
        yield content[: 1 << 20]
        raise ConnectionError("the client went away")

    with pytest.raises((ConnectionError, Busy)):
        store.put_part(draft, 1, broken())
    store.complete(draft, put_parts(store, draft, parts), sha(content), lambda: None)
    assert store.size(sha(content)) == 2 << 20


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


def leftovers(store: BlobStore) -> list[str]:
    """Drafts and unfinished uploads."""
    if isinstance(store, LocalStore):
        return [path.name for path in store.incoming.iterdir()]
    if isinstance(store, AzureStore):
        return [each.name for each in store.unfinished()]
    assert isinstance(store, S3Store)
    answer = store.client.list_multipart_uploads(Bucket=store.bucket)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def leave(store: BlobStore, name: str, content: bytes) -> None:
    """Puts a file there that no upload has made."""
    if isinstance(store, LocalStore):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    elif isinstance(store, AzureStore):
        store._blob(name).upload_blob(content, overwrite=True)
    else:
        assert isinstance(store, S3Store)
        store.client.put_object(Bucket=store.bucket, Key=store.prefix + name, Body=content)


def damage(store: BlobStore, sha256: str) -> None:
    if isinstance(store, LocalStore):
        path = store.root / key_of(sha256)
        path.chmod(0o600)
        path.write_bytes(b"damaged")
    elif isinstance(store, AzureStore):
        store._blob(key_of(sha256)).upload_blob(b"damaged", overwrite=True)
    else:
        assert isinstance(store, S3Store)
        store.client.put_object(Bucket=store.bucket, Key=store.prefix + key_of(sha256), Body=b"damaged")


def test_a_folder_keeps_files_read_only_below_two_levels_of_their_digest(tmp_path: Path) -> None:
    LocalStore(tmp_path).put(pieces(b"x"), sha(b"x"), 1)
    path = tmp_path / sha(b"x")[:2] / sha(b"x")[2:4] / sha(b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store = LocalStore(tmp_path)
    with pytest.raises(StoreFull):
        store.put(pieces(b"x"), sha(b"x"), 1)
    assert leftovers(store) == []


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
