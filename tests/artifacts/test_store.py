"""What every store promises, on a folder and on real buckets."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from artifacts.errors import BytesLost, DigestMismatch, DraftLost, StoreFull
from artifacts.store import PART, AzureStore, BlobStore, LocalStore, key_of
from common.errors import Busy
from tests.artifacts.stores import begun, damage, leave, leftovers, pieces, put_parts, sha


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
