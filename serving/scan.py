"""Scan model files without loading them: is there anything that would run when somebody loads them?

`python -m serving.scan FOLDER` prints {"detected": …, "verdict": …, "reasons": […], "described": …} and limits itself;
`run_limited(folder)` is that as a subprocess. The verdict is "clean", "suspicious" (a reason names the
file and the import) or "not_scannable" (a reason says why the scan could not follow a file).
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from serving import archives
from serving.allowed import is_allowed, runs_code
from serving.describe import describe
from serving.files import ModelFile, Reader, Source, Unreadable, files_of
from serving.formats import detect
from serving.pickles import NESTED_LIMIT, WRAPPER, Found, follow
from serving.sniff import (
    BROKEN,
    COMPRESSED,
    HEAD,
    PICKLE_SUFFIXES,
    TORCH_MAGIC,
    UNPACK_LIMIT,
    is_inert,
    kind_of,
    open_zip,
    unpacked,
)

CLOSED = {
    "zstd": "is compressed in a way that the scan does not unpack (zstd)",
    "lz4": "is compressed in a way that the scan does not unpack (lz4)",
    "7z": "is a 7z archive, which the scan does not unpack",
    "rar": "is a rar archive, which the scan does not unpack",
    "old joblib": "is written by a joblib older than 0.10",
    "hdf5": "is an HDF5 file, which may carry code that the scan cannot follow",
    "elf": "is a program, which the scan cannot follow",
    "exe": "is a program, which the scan cannot follow",
}
MEMORY = 2 << 30
RULES = "3"  # counts up when a scan could find something else in the same files
CPU_SECONDS = 60
ANSWER_LIMIT = 1 << 20


@dataclass
class ScanResult:
    """Verdict over all files and the sentences that explain it (also notes on a clean one)."""

    verdict: str = "clean"
    reasons: list[str] = field(default_factory=list)


class _Scan:
    """One scan: collects bad names, what could not be followed, and notes."""

    def __init__(self) -> None:
        self.suspicious: list[str] = []
        self.not_followed: list[str] = []
        self.notes: list[str] = []

    def result(self) -> ScanResult:
        reasons = list(dict.fromkeys([*self.suspicious, *self.not_followed, *self.notes]))[:50]
        if self.suspicious:
            return ScanResult("suspicious", reasons)
        return ScanResult("not_scannable" if self.not_followed else "clean", reasons)

    def file(self, one: ModelFile) -> None:
        if one.problem:
            self.not_followed.append(f"'{one.path}' {one.problem}.")
            return
        if one.suffix in {".py", ".pyc"}:
            self._code(one)
            return
        self.guarded(one.path, lambda: self._open(one))

    def _open(self, one: ModelFile) -> None:
        with one.open() as stream:
            self.stream(one.path, stream, 0)

    def _code(self, one: ModelFile) -> None:
        if one.suffix == ".pyc":
            self.not_followed.append(f"'{one.path}' is compiled Python, which the scan cannot follow.")
        elif one.name == "predictor.py":
            self.notes.append(f"'{one.path}' is code: it runs in the serving process and nowhere else.")

    def guarded(self, name: str, look: Callable[[], None]) -> None:
        """Run `look`; whatever it cannot read becomes a sentence about `name`."""
        try:
            look()
        except Unreadable as error:
            self.not_followed.append(f"'{name}' {error}.")
        except (*BROKEN, KeyError, IndexError, OverflowError, TypeError):
            self.not_followed.append(f"'{name}' is damaged or cut off.")
        except (MemoryError, RecursionError):
            self.not_followed.append(f"'{name}' needs more memory than the scan has.")

    def stream(self, name: str, stream: BinaryIO, depth: int, *, in_zip: bool = False) -> None:
        """Look at one file's bytes, which `name` names. Raises `Unreadable` and what reading raises."""
        if depth > NESTED_LIMIT:
            raise Unreadable("nests files too deeply")
        reader = Reader(stream, UNPACK_LIMIT if depth else None)
        kind = kind_of(reader.peek(HEAD))
        if kind in CLOSED:
            raise Unreadable(CLOSED[kind])
        if kind == "zip":
            self._zip(name, archives.whole(stream, reader), depth)
        elif kind in COMPRESSED:
            rest = archives.rest_of(stream, reader)
            self.stream(name, unpacked(rest, kind), depth + 1)
        elif kind == "tar":
            archives.each_in_tar(name, archives.rest_of(stream, reader), depth, self.stream)
        elif kind == "npy":
            self._npy(name, reader)
        elif kind == "safetensors":
            archives.check_safetensors(reader)
        elif kind == "pickle" or _suffix(name) in PICKLE_SUFFIXES:
            self._pickles(name, reader, in_zip=in_zip)
        elif kind != "onnx":
            inert = kind in ("empty", "xgboost", "lightgbm") or is_inert(reader.peek(HEAD), _suffix(name))
            self._perhaps_pickle(name, reader)
            if not inert:
                raise Unreadable("is of a kind that the scan does not know")
        if depth and kind != "zip":
            reader.drain()

    def _zip(self, name: str, stream: BinaryIO, depth: int) -> None:
        archive = open_zip(stream)
        names = set(archive.namelist())
        if "schema.json" in names:
            self.guarded(name, lambda: self.names(name, archives.skops_names(archive)))
        raw = archives.raw_members(names)
        for member in archive.infolist():
            if member.is_dir() or member.filename in raw:
                continue
            inner = f"{name}:{member.filename}"
            self.guarded(inner, lambda m=member, i=inner: self._member(archive, m.filename, i, depth))  # type: ignore[misc]
            if member.filename.endswith(".json") and archives.is_export(names):
                self.guarded(inner, lambda m=member, i=inner: self._expressions(archive, m.filename, i))  # type: ignore[misc]

    def _member(self, archive: archives.Zip, member: str, inner: str, depth: int) -> None:
        with archive.open(member) as stream:
            self.stream(inner, stream, depth + 1, in_zip=True)  # type: ignore[arg-type]

    def _expressions(self, archive: archives.Zip, member: str, inner: str) -> None:
        for text in archives.odd_expressions(archive, member):
            self.suspicious.append(
                f"'{inner}' holds the expression {text[:80]!r}, which torch.export would evaluate."
            )

    def _npy(self, name: str, reader: Reader) -> None:
        if archives.npy_has_objects(reader):
            self._pickles(name, reader, in_zip=True)

    def _pickles(self, name: str, reader: Reader, *, in_zip: bool) -> None:
        """Pickles one after the other up to the end of the stream; torch's old files end with raw tensors."""
        legacy = TORCH_MAGIC in reader.peek(32)
        count = 0
        while reader.peek(1):
            if legacy and count == 5:
                break
            if count and not legacy and kind_of(reader.peek(HEAD)) != "pickle":
                self._perhaps_pickle(name, reader)
                raise Unreadable("has bytes after the end of its pickle")
            self._one_pickle(name, reader, joblib=not in_zip)
            count += 1
        if not count:
            raise Unreadable("is empty, though its name says that it is a pickle")

    def _one_pickle(self, name: str, reader: Reader, *, joblib: bool) -> None:
        found = Found()
        if joblib:
            reader.start_copy()
        try:
            follow(reader, found, joblib=joblib)
        finally:
            self.names(name, found.names)
            self.suspicious += [f"'{name}' {what}." for what in found.odd]
        if WRAPPER in found.names and joblib:
            self._read_plainly(name, reader.copied())

    def _read_plainly(self, name: str, data: Reader) -> None:
        """A joblib file opened by pickle itself would take array bytes for opcodes: look at those too."""
        found = Found()
        with contextlib.suppress(Unreadable):
            follow(data, found, joblib=False)
        self.names(
            name, [pair for pair in found.names if all(part.isidentifier() for part in pair[1].split("."))]
        )

    def _perhaps_pickle(self, name: str, reader: Reader) -> None:
        """Any other file may be a pickle without its usual first bytes; text and data are not."""
        found = Found()
        try:
            follow(reader, found)
            ended = True
        except Unreadable:
            ended = False
        bad = [pair for pair in found.names if _is_name(pair) and (ended or found.calls)]
        self.names(name, bad)
        if ended or found.names:
            self.suspicious += [f"'{name}' {what}." for what in found.odd]
        if not ended and found.calls and any(is_allowed(*pair) for pair in found.names):
            raise Unreadable("looks like a pickle, but cannot be followed to its end")

    def names(self, name: str, pairs: list[tuple[str, str]]) -> None:
        """Judge imported names."""
        for module, what in dict.fromkeys(pairs):
            if not is_allowed(module, what):
                self.suspicious.append(_sentence(name, module, what))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_name(pair: tuple[str, str]) -> bool:
    return all(part.isidentifier() for text in pair for part in text.split("."))


def _sentence(name: str, module: str, what: str) -> str:
    full = f"{module}.{what}"[:120].encode("unicode_escape").decode()
    if runs_code(module):
        return f"'{name}' imports {full}, which can run code or commands when the file is loaded."
    return f"'{name}' imports {full}, which is not among the names that the scan knows to be harmless."


def scan(source: Source) -> ScanResult:
    """Scan a folder, a file, or (relative path, open) pairs. Never raises for what a file holds.

    Call `run_limited` for files that come from users: this function has no limits of its own.
    """
    whole = _Scan()
    for one in files_of(source):
        whole.file(one)
    return whole.result()


def run_limited(folder: str | Path, timeout: float = 120) -> dict[str, object]:
    """Detect and scan in a subprocess with limits on time, memory and files.

    Returns {"detected": {…} or None, "verdict": …, "reasons": […]}; a scan that ends by force is
    "not_scannable" with the reason.
    """
    command = [sys.executable, "-P", "-m", "serving.scan", os.fspath(folder)]
    kept = {
        key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if key in os.environ
    }
    env = {**kept, "PYTHONPATH": str(Path(__file__).resolve().parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            answer, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return _forced(f"The scan did not end within {timeout:g} seconds.")
    return _read_answer(process.returncode, answer)


def _read_answer(code: int, answer: bytes) -> dict[str, object]:
    try:
        said = json.loads(answer) if code == 0 else None
    except ValueError:
        said = None
    if isinstance(said, dict):
        return said
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return _forced(f"The scan needed more than {CPU_SECONDS} seconds of computing or too much memory.")
    return _forced(f"The scan ended by force (code {code}).")


def _forced(reason: str) -> dict[str, object]:
    return {"detected": None, "verdict": "not_scannable", "reasons": [reason], "described": {}}


def _limit_self() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def main(folder: str) -> None:
    """Limit this process, detect and scan `folder`, print one JSON object."""
    _limit_self()
    whole = {
        "detected": detect(folder).as_dict(),
        **asdict(scan(folder)),
        "described": describe(folder),
    }
    print(json.dumps(whole)[:ANSWER_LIMIT])


if __name__ == "__main__":
    main(sys.argv[1])
