"""A bundle as a ZIP file: written piece by piece with flat memory, and read as something a stranger sent.

`bundle.json` says everything and lists the files with their SHA-256; `signature.json` is over its exact bytes;
the files lie below `files/`. Files are stored, not compressed; one who packed a bundle anew may deflate.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

from artifacts.paths import check_path
from artifacts.store import CHUNK
from common.checks import shorten
from common.errors import Invalid

BUNDLE, SIGNATURE, FILES = "bundle.json", "signature.json", "files/"
MAX_BUNDLE_BYTES = 64 << 20
MAX_SIGNATURE_BYTES = 4096
MOST_FILES = 50_000  # each takes half a KiB while a bundle is read, before its signature is
MAX_DIRECTORY_BYTES = 16 << 20
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # no time of ours: equal content gives equal bytes
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class Source(Protocol):
    """Bytes to be read and closed."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Part:
    """One entry to be written: its name, size in bytes, SHA-256, and where its bytes come from."""

    name: str
    size: int
    sha256: str
    open: Callable[[], Source]


class _Outbox:
    """What zipfile writes to: it keeps the pieces until they are sent. Without tell() it cannot be sought."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self.pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        content = b"".join(self.pieces)
        self.pieces.clear()
        return content


def written(parts: Iterable[Part]) -> Iterator[bytes]:
    """The bundle's bytes in pieces of about 1 MiB; OSError where a part's bytes are not those announced.

    A bundle that breaks off has no directory at its end, so nobody takes it for a whole one.
    """
    outbox = _Outbox()
    with zipfile.ZipFile(cast(BinaryIO, outbox), "w", zipfile.ZIP_STORED, allowZip64=True) as bundle:
        for part in parts:
            entry = zipfile.ZipInfo(part.name, LONG_AGO)
            entry.file_size = part.size
            entry.external_attr = 0o100644 << 16
            digest = hashlib.sha256()
            with closing(part.open()) as source, bundle.open(entry, "w") as sink:
                while piece := source.read(CHUNK):
                    digest.update(piece)
                    sink.write(piece)
                    yield outbox.taken()
            if digest.hexdigest() != part.sha256:
                raise OSError(f"The stored bytes of {part.name} are not those of {part.sha256}.")
    yield outbox.taken()


def damaged(name: str, why: str) -> Invalid:
    """The refusal of a bundle, naming the file in it that is at fault."""
    return Invalid(
        f"{shorten(name)} in the bundle {why}.",
        "Export it again and send it as it is.",
        code="bundle_damaged",
        fields={"bundle": [f"{shorten(name)} {why}."]},
    )


def no_bundle(why: str) -> Invalid:
    return Invalid(
        f"This is no bundle: {why}.",
        "Send a file that export_model_version wrote.",
        code="no_bundle",
        fields={"bundle": [f"It {why}."]},
    )


class ReadBundle:
    """The entries of a ZIP file by name; nothing in it is believed before its signature and digests are checked."""

    def __init__(self, file: BinaryIO) -> None:
        _check_directory(file)
        try:
            self.zip = zipfile.ZipFile(file)
        except UNREADABLE as error:
            raise no_bundle("it is damaged at its end, or no ZIP file") from error
        self.entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self.zip.infolist():
            _check_entry(entry)
            if entry.filename in self.entries:
                raise damaged(entry.filename, "stands there twice")
            self.entries[entry.filename] = entry

    def content(self, name: str, limit: int) -> bytes:
        """A small entry as a whole."""
        entry = self._entry(name)
        if entry.file_size > limit:
            raise damaged(name, f"is larger than {limit} bytes")
        with closing(self.open(name)) as source:
            return source.read(limit + 1)

    def open(self, name: str) -> Source:
        """An entry's bytes; the refusal that names it where they cannot be read."""
        try:
            return _Entry(name, cast(Source, self.zip.open(self._entry(name))))
        except UNREADABLE as error:
            raise damaged(name, "is damaged") from error

    def size(self, name: str) -> int:
        """How many bytes the directory says that the entry has."""
        return self._entry(name).file_size

    def file_names(self) -> set[str]:
        """The paths of the files, without `files/`."""
        return {name[len(FILES) :] for name in self.entries if name.startswith(FILES)}

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = self.entries.get(name)
        if entry is None:
            raise damaged(name, "is missing")
        return entry


class _Entry:
    """An entry that is being read: whatever is wrong with its bytes is told as that."""

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self.source = source

    def read(self, size: int, /) -> bytes:
        try:
            return self.source.read(size)
        except UNREADABLE as error:
            raise damaged(self.name, "is damaged") from error

    def close(self) -> None:
        self.source.close()


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if entry.orig_filename != name or "\0" in name:
        raise damaged(entry.orig_filename, "has a name that no file can have")
    if name not in (BUNDLE, SIGNATURE):
        if not name.startswith(FILES):
            raise damaged(name, f"belongs to no bundle: files lie below {FILES}")
        check_path("bundle", name[len(FILES) :])
    if entry.compress_type not in PACKED or entry.flag_bits & ENCRYPTED:
        raise damaged(name, "is packed in a way that no bundle is")


LENGTHS = struct.Struct("<3H")  # of an entry's name, extra field and comment
END, END_64, WHERE_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


def _check_directory(file: BinaryIO) -> None:
    """Refuses a directory of too many bytes or entries, before zipfile makes objects of them all.

    The records of the end stand where zipfile looks for them: behind them comes nothing.
    """
    length = file.seek(0, 2)
    file.seek(max(0, length - 98))
    tail = file.read(98)
    end, where, end_64 = tail[-22:], tail[-42:-22], tail[-98:-42]
    if len(end) < 22 or not end.startswith(END) or end[-2:] != b"\0\0":
        raise no_bundle("it is damaged at its end, or no ZIP file")
    size, ahead = int.from_bytes(end[12:16], "little"), 22
    if where.startswith(WHERE_64):
        if not end_64.startswith(END_64) or int.from_bytes(where[8:16], "little") != length - 98:
            raise no_bundle("it is damaged at its end")
        size, ahead = int.from_bytes(end_64[40:48], "little"), 98
    if size > min(length - ahead, MAX_DIRECTORY_BYTES):
        raise no_bundle("its directory is larger than any bundle's")
    file.seek(length - ahead - size)
    _check_count(file.read(size))


def _check_count(directory: bytes) -> None:
    """Counts the entries themselves: the number in the end's record may be another, and zipfile does not look at it."""
    at, count = 0, 0
    while at + LENGTHS.size + 28 <= len(directory):
        at += 46 + sum(LENGTHS.unpack_from(directory, at + 28))
        count += 1
        if count > MOST_FILES + 2:
            raise no_bundle(f"it has more than {MOST_FILES} files")


def strict_json(name: str, content: bytes) -> Any:
    """JSON without NaN and double keys; the refusal naming `name` for anything else."""
    try:
        return json.loads(content.decode(), parse_constant=_refuse, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError) as error:
        raise damaged(name, "is no strict JSON") from error


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def canonical(value: Any) -> bytes:
    """The one way to write `value` as JSON: keys sorted, no spaces, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def part_of(name: str, content: bytes) -> Part:
    """A small entry whose bytes are at hand."""
    return Part(name, len(content), hashlib.sha256(content).hexdigest(), lambda: io.BytesIO(content))
