"""Tell from the first bytes what kind of bytes they are, and unpack them with bounds. Nothing is loaded."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from typing import BinaryIO, cast

from serving.files import CHUNK, Unreadable

HEAD = 4096
# JSON, or its binary form (UBJSON, with the length of the name before it)
_XGBOOST = re.compile(rb'\s*\{\s*"learner"\s*:|\{[iIlLU].{1,8}?learner\{', re.DOTALL)
UNPACK_LIMIT = 8 << 30
ENTRY_LIMIT = 100_000
TORCH_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
PICKLE_SUFFIXES = {
    ".pkl",
    ".pickle",
    ".joblib",
    ".sav",
    ".p",
    ".pk",
    ".pt",
    ".pth",
    ".ckpt",
    ".dill",
    ".cloudpickle",
}
TORCH_SUFFIXES = {".pt", ".pth", ".ckpt", ".bin"}

_MAGICS = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
    (b"ZF0x", "old joblib"),
    (b"\x93NUMPY", "npy"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x7fELF", "elf"),
    (b"MZ\x90", "exe"),
)
COMPRESSED = {"gzip", "bz2", "xz", "lzma", "zlib"}


# Formats that hold data and no code, by the bytes at a place.
_INERT = (
    *((0, magic) for magic in (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"GGUF", b"PAR1", b"CBM1")),
    *((0, magic) for magic in (b"ARROW1", b"OggS", b"fLaC", b"ID3", b"wOFF", b"wOF2", b"Obj\x01", b"ORC")),
    (4, b"TFL3"),
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\x1b"))


def is_inert(head: bytes, suffix: str) -> bool:
    """Whether bytes that are no other kind are text, or data of a format that holds no code."""
    if any(head.startswith(magic, place) for place, magic in _INERT):
        return True
    if suffix == ".ubj" and head.startswith(b"{"):  # XGBoost's binary JSON
        return True
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if head.translate(None, _CONTROL) != head:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def kind_of(head: bytes) -> str:
    """Kind of bytes by their first 4 KiB: a key of the table above, 'zlib', 'pickle', 'safetensors', 'tar',
    'onnx', 'xgboost', 'lightgbm', 'empty', or '' for anything else (text, images, old text pickles, unknown binaries).
    """
    if not head:
        return "empty"
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    if len(head) > 1 and head[0] == 0x80 and head[1] <= 8:
        return "pickle"
    if len(head) > 1 and head[0] == 0x78 and head[1] in (0x01, 0x5E, 0x9C, 0xDA):
        return "zlib"
    if head[257:262] == b"ustar":
        return "tar"
    if _is_safetensors(head):
        return "safetensors"
    if _XGBOOST.match(head):
        return "xgboost"
    if head.startswith((b"tree\nversion=", b"tree\r\nversion=")):
        return "lightgbm"
    return "onnx" if _is_onnx(head) else ""


def _is_safetensors(head: bytes) -> bool:
    size = int.from_bytes(head[:8], "little")
    return len(head) >= 10 and 2 <= size <= 100 << 20 and head[8:9] == b"{"


def _is_onnx(head: bytes) -> bool:
    """Whether the bytes begin as an ONNX ModelProto: ir_version, then its other fields up to the graph."""
    at, seen_version = 0, False
    while at < len(head):
        tag, at = _varint(head, at)
        number, wire = tag >> 3, tag & 7
        value, at = _varint(head, at)
        if number == 1 and wire == 0:
            seen_version = 1 <= value <= 100
        elif wire == 2 and number in (7, 8):
            return seen_version and at <= len(head)
        elif wire == 2 and number in (2, 3, 4, 6, 14, 25):
            at += value
        elif not (wire == 0 and number == 5):
            return False
    return False


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return 0, at + 1
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    return 0, len(data) + 1


class _Inflated(io.RawIOBase):
    """One zlib stream as a file; what follows its end is an error."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._engine, self._rest = stream, zlib.decompressobj(), b""

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` unpacked bytes, b'' at the end."""
        while True:
            if self._engine.eof:
                if self._engine.unused_data or self._stream.read(1):
                    raise Unreadable("has bytes after its end")
                return b""
            packed = self._engine.unconsumed_tail or self._stream.read(CHUNK)
            if not packed:
                raise Unreadable("ends too early")
            if data := self._engine.decompress(packed, max(size, 1)):
                return data


def unpacked(stream: BinaryIO, kind: str) -> BinaryIO:
    """The unpacked bytes of a compressed stream, lazily; reading raises what `BROKEN` lists."""
    if kind == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if kind == "bz2":
        return cast(BinaryIO, bz2.BZ2File(stream))
    if kind in ("xz", "lzma"):
        return cast(BinaryIO, lzma.LZMAFile(stream))
    return cast(BinaryIO, _Inflated(stream))


BROKEN = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


def open_zip(stream: BinaryIO) -> zipfile.ZipFile:
    """Open a zip whose listing is plain: bounded, no doubled or encrypted members; or `Unreadable`."""
    try:
        archive = zipfile.ZipFile(stream)
    except (*BROKEN, KeyError, IndexError, OverflowError, MemoryError, RecursionError):
        raise Unreadable("is a damaged zip file") from None
    names = archive.namelist()
    if len(names) > ENTRY_LIMIT:
        raise Unreadable("is a zip file of too many members")
    if len(set(names)) != len(names):
        raise Unreadable("is a zip file that holds two members of one name")
    if any(member.flag_bits & 0x1 for member in archive.infolist()):
        raise Unreadable("is an encrypted zip file")
    return archive
