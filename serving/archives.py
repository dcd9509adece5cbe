"""What the scan needs to look into archives and headers: zip, tar, npy, safetensors, skops, torch.export."""

from __future__ import annotations

import ast
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from serving.files import CHUNK, Reader, Unreadable, seekable

Zip = zipfile.ZipFile
JSON_LIMIT = 64 << 20
IN_MEMORY = 256 << 20
_TORCH_RAW = re.compile(
    r"[^/]+/(?:data|constants)/\d+\Z|(?:[^/]+/)?data/(?:weights|constants)/(?:weight|tensor)_\d+\Z"
)
_EXPRESSION = re.compile(r"[A-Za-z0-9_ .,+\-*/%()<>=!&|~]*\Z")
_SYMBOL = re.compile(r"Symbol\('[A-Za-z]\w*'")
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
_SYMBOLIC_TEXT = (
    "Symbol Integer Float Rational Max Min Mod PythonMod CleanDiv FloorDiv IntTrueDiv FloatTrueDiv "
    "CeilDiv CeilToInt FloorToInt TruncToInt TruncToFloat RoundToInt RoundDecimal ToFloat Identity "
    "Where ceiling floor Abs Pow PowByNatural FloatPow Eq Ne Lt Le Gt Ge And Or Not Piecewise "
    "OpaqueUnaryFn_sqrt LShift RShift IsNonOverlappingAndDenseIndicator"
)
_SYMBOLIC = set(_SYMBOLIC_TEXT.split())


class _Joined(io.RawIOBase):
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._reader.read_up_to(CHUNK if size < 0 else size)

    def readinto(self, buffer: Any) -> int:
        data = self._reader.read_up_to(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def rest_of(stream: BinaryIO, reader: Reader) -> BinaryIO:
    """The stream from its beginning, the reader having looked at its head only."""
    whole_stream = seekable(stream)
    if whole_stream is not None:
        whole_stream.seek(0)
        return whole_stream
    return cast(BinaryIO, io.BufferedReader(_Joined(reader)))


def whole(stream: BinaryIO, reader: Reader) -> BinaryIO:
    """A seekable stream of the same bytes; what cannot seek is kept in memory, up to 256 MiB."""
    if not isinstance(stream, zipfile.ZipExtFile) and (direct := seekable(stream)) is not None:
        direct.seek(0)
        return direct
    kept = cast(BinaryIO, io.BytesIO())
    while data := reader.read_up_to(CHUNK):
        kept.write(data)
        if kept.tell() > IN_MEMORY:
            raise Unreadable("is a zip file in another file, too large to be looked into")
    kept.seek(0)
    return kept


def each_in_tar(name: str, stream: BinaryIO, depth: int, look: Callable[[str, BinaryIO, int], None]) -> None:
    """Call `look` on every file of a tar. Raises `Unreadable` for links and damage."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isdir():
                    continue
                inner = archive.extractfile(member) if member.isreg() else None
                if inner is None:
                    raise Unreadable("is a tar file that holds something other than files")
                look(f"{name}:{member.name}", cast(BinaryIO, inner), depth + 1)
    except tarfile.TarError:
        raise Unreadable("is a damaged tar file") from None


def raw_members(names: set[str]) -> set[str]:
    """Members of a torch file that hold bare tensor bytes, which torch never unpickles."""
    roots = {name.split("/", 1)[0] for name in names if "/" in name}
    if not is_export(names) and not any(f"{root}/data.pkl" in names for root in roots):
        return set()
    return {name for name in names if _TORCH_RAW.match(name)}


def is_export(names: set[str]) -> bool:
    """Whether a zip's members are those of a torch.export program."""
    return any(name.endswith(("serialized_exported_program.json", "models/model.json")) for name in names)


def _json(archive: Zip, member: str) -> Any:
    if archive.getinfo(member).file_size > JSON_LIMIT:
        raise Unreadable(f"has a {member} that is too large to be looked at")
    try:
        return json.loads(archive.read(member))
    except ValueError:
        raise Unreadable(f"has a {member} that is not JSON") from None


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def skops_names(archive: Zip) -> list[tuple[str, str]]:
    """Every (module, name) that a skops file's schema mentions. Raises `Unreadable`."""
    names: list[tuple[str, str]] = []
    for node in _nodes(_json(archive, "schema.json")):
        for module_key, name_key in (("__module__", "__class__"), ("module_path", "function")):
            if module_key not in node and name_key not in node:
                continue
            pair = node.get(module_key), node.get(name_key)
            if not (isinstance(pair[0], str) and isinstance(pair[1], str)):
                if "__loader__" in node or module_key == "module_path":
                    raise Unreadable("has a schema.json that names a type in an unknown way")
                continue
            if pair != ("builtins", "function") and node.get("__loader__") not in _NO_IMPORT:
                names.append((pair[0], pair[1]))
    return names


_NO_IMPORT = {"JsonNode", "CachedNode"}


def odd_expressions(archive: Zip, member: str) -> list[str]:
    """Symbolic expressions of a torch.export program that are more than arithmetic."""
    odd: list[str] = []
    for node in _nodes(_json(archive, member)):
        text = node.get("expr_str")
        if isinstance(text, str) and not _is_arithmetic(text):
            odd.append(text)
    return odd


def _is_arithmetic(text: str) -> bool:
    text = _SYMBOL.sub("Symbol(name", text)
    if not _EXPRESSION.match(text) or "__" in text or re.search(r"\.\s*[A-Za-z_]", text):
        return False
    return all(name in _SYMBOLIC for name in _CALL.findall(text))


def npy_has_objects(reader: Reader) -> bool:
    """Read a .npy header; whether a pickle follows instead of raw items. Raises `Unreadable`."""
    start = reader.read(8)
    width = 2 if start[6] == 1 else 4
    size = int.from_bytes(reader.read(width), "little")
    if start[6] not in (1, 2, 3) or size > 1 << 20:
        raise Unreadable("has an array header that cannot be followed")
    try:
        header = ast.literal_eval(reader.read(size).decode("utf-8" if start[6] == 3 else "latin-1").strip())
        descr = header["descr"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError):
        raise Unreadable("has an array header that cannot be followed") from None
    return _descr_has_objects(descr)


def _descr_has_objects(descr: object) -> bool:
    if isinstance(descr, str):
        return "O" in descr
    if isinstance(descr, (list, tuple)):
        return any(_descr_has_objects(part) for part in descr)
    return not isinstance(descr, int)


def check_safetensors(reader: Reader) -> None:
    """Check a safetensors header: JSON of tensors whose bytes lie inside the file. Raises `Unreadable`."""
    size = int.from_bytes(reader.read(8), "little")
    try:
        header = json.loads(reader.read(size))
        ends = [int(one["data_offsets"][1]) for key, one in header.items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise Unreadable("has a safetensors header that cannot be read") from None
    if reader.drain() != max(ends, default=0):
        raise Unreadable("is cut off, or longer than its safetensors header says")
