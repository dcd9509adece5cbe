"""A folder as a store."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from artifacts.errors import BodyIncomplete, StoreFull
from artifacts.store.base import FULL, Draft, Stored, away, digest_at, key_of, lost, mismatch
from artifacts.store.parts import digest_of, opened, seal, write_part
from artifacts.store.stages import write_all, write_hashed

DRAFT = re.compile(r"[0-9a-f]{32}|up-[0-9a-z]{12}")


class LocalStore:
    """A folder: written beside, made durable, then renamed into place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"

    def put(self, chunks: Iterable[bytes], sha256: str, expected_size: int, keep_as: str = "") -> int:
        with _local_trouble():
            self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self.incoming / uuid.uuid4().hex
            try:
                size, found = _write_durably(draft, chunks, expected_size)
                if found != sha256:
                    raise mismatch(sha256, found)
                self._move_into_place(draft, sha256)
            except BodyIncomplete as error:
                if keep_as:
                    error.kept = draft.stat().st_size
                    _sync(draft)
                    draft.chmod(0o600)
                    draft.rename(self.incoming / keep_as)
                raise
            finally:
                draft.unlink(missing_ok=True)
        return size

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        drafts: dict[str, Path] = {}
        with _local_trouble():
            self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                for sha256, content in items:
                    if sha256 not in drafts:
                        drafts[sha256] = self.incoming / uuid.uuid4().hex
                        _write_new(drafts[sha256], content)
                # All are written before the first is synced: the disk then takes most of them at once.
                for draft in drafts.values():
                    _sync(draft)
                self._move_all_into_place(drafts)
            finally:
                for draft in drafts.values():
                    draft.unlink(missing_ok=True)

    def _move_into_place(self, draft: Path, sha256: str) -> None:
        self._move_all_into_place({sha256: draft})

    def _move_all_into_place(self, drafts: Mapping[str, Path]) -> None:
        folders: dict[Path, None] = {}
        for sha256, draft in drafts.items():
            target = self._path(sha256)
            for folder in (target.parent.parent, target.parent):
                if not folder.is_dir():
                    folder.mkdir(mode=0o700, exist_ok=True)
                    folders[folder.parent] = None
            draft.rename(target)
            folders[target.parent] = None
        for folder in folders:
            _sync(folder)

    def begin(self, name: str) -> str:
        with _local_trouble():
            self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.incoming / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return ""

    def put_part(self, draft: Draft, number: int, chunks: Iterable[bytes]) -> str:
        with _local_trouble(), opened(self.incoming / draft.name, draft, os.O_WRONLY) as descriptor:
            write_part(descriptor, draft, number, chunks)
        return ""

    def complete(self, draft: Draft, tags: Sequence[str], sha256: str, alive: Callable[[], None]) -> None:
        path = self.incoming / draft.name
        with _local_trouble(), opened(path, draft, os.O_RDONLY) as descriptor:
            seal(descriptor, path, draft)
            found = digest_of(descriptor, alive)
            if found != sha256:
                path.unlink(missing_ok=True)
                raise mismatch(sha256, found)
            self._move_into_place(path, sha256)

    def abort(self, draft: Draft) -> None:
        with _local_trouble():
            (self.incoming / draft.name).unlink(missing_ok=True)

    def open(self, sha256: str, offset: int = 0) -> BinaryIO:
        with _local_trouble():
            try:
                file = self._path(sha256).open("rb", buffering=0)
            except FileNotFoundError as error:
                self._check_is_there()
                raise lost(sha256) from error
            file.seek(offset)
        return cast(BinaryIO, file)

    def size(self, sha256: str) -> int | None:
        with _local_trouble():
            try:
                return self._path(sha256).stat().st_size
            except FileNotFoundError:
                self._check_is_there()
                return None

    def _check_is_there(self) -> None:
        """FileNotFoundError when the whole folder is gone, as that of a disk that is not mounted: nothing is lost then."""
        self.root.stat()

    def delete(self, sha256: str) -> None:
        self._path(sha256).unlink(missing_ok=True)

    def walk(self) -> Iterator[Stored]:
        for folder, folders, files in os.walk(self.root):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if here / name != self.incoming)
            yield from self._look_at(here, files)

    def unfinished(self) -> Iterator[Stored]:
        for folder, _, files in os.walk(self.incoming):
            yield from self._look_at(Path(folder), files)

    def dead_drafts(self, before: datetime) -> list[Stored]:
        return [
            draft
            for draft in self.unfinished()
            if draft.modified_at < before and DRAFT.fullmatch(draft.name.removeprefix("incoming/"))
        ]

    def discard(self, draft: Stored) -> None:
        (self.root / draft.name).unlink(missing_ok=True)

    def _look_at(self, folder: Path, files: list[str]) -> Iterator[Stored]:
        for path in (folder / name for name in sorted(files)):
            with suppress(FileNotFoundError):  # gone since the folder was listed
                status = path.lstat()
                name = path.relative_to(self.root).as_posix()
                modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                yield Stored(name, digest_at(name), status.st_size, modified_at)

    def _path(self, sha256: str) -> Path:
        return self.root / key_of(sha256)


def _write_durably(path: Path, chunks: Iterable[bytes], expected_size: int) -> tuple[int, str]:
    """Writes and syncs a read-only file; its size and SHA-256."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with open(descriptor, "wb", buffering=0) as file:
        size, digest = write_hashed(file, chunks, expected_size)
        os.fsync(descriptor)
    return size, digest.hexdigest()


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with open(descriptor, "wb", buffering=0) as file:
        write_all(file, content)


def _sync(path: Path) -> None:
    """Makes a file's bytes, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _local_trouble() -> Iterator[None]:
    """What a disk may answer, as refusals that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StoreFull("The storage is full.", "Ask an operator for more room.") from error
        raise away(error) from error
