"""The sha256 of files, remembered: a file that did not change since is not read again.

What is remembered lies in `digests.sqlite` below PODSTACK_CACHE_DIR (else ~/.cache/podstack), readable by its
owner only. It may be removed at any time; where it cannot be used, files are hashed.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from podstack.files.local import open_file
from podstack.files.threads import in_parallel

PIECE = 1 << 20
# A file system may round times up to this many seconds: younger files may change without a new time.
YOUNG = 2.0
# Where times have digits below a millisecond, they are rounded to the kernel's tick.
YOUNG_WITH_FINE_TIMES = 0.1
MOST_ROWS = 200_000
SMALLEST = 64 << 10  # bytes; smaller files are hashed sooner than looked up
WAIT_SECONDS = 1.0
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER,"
    " ctime_ns INTEGER, inode INTEGER, device INTEGER, sha256 TEXT, noted_at INTEGER) WITHOUT ROWID"
)
FIND = (
    "SELECT sha256 FROM digests WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?"
    " AND inode = ? AND device = ?"
)
NOTE = "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
FORGET = "DELETE FROM digests WHERE path IN (SELECT path FROM digests ORDER BY noted_at LIMIT ?)"


@dataclass(frozen=True)
class Look:
    """A regular file as it looks without being read. Equal looks of one that is not young: equal bytes."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    def is_young(self, now: float, seconds: float = YOUNG) -> bool:
        """Whether it was modified less than `seconds` before `now`, or after it."""
        return now - self.mtime_ns / 1e9 < seconds

    def row(self) -> tuple[str, int, int, int, int, int]:
        return self.path, self.size, self.mtime_ns, self.ctime_ns, self.inode, self.device


def look_at(path: Path) -> Look | None:
    """How a file looks now; None where there is no regular file whose look can be taken."""
    try:
        status = path.stat()
        text = os.path.abspath(path)
        text.encode()
    except (OSError, ValueError):
        return None
    if not S_ISREG(status.st_mode):
        return None
    return Look(
        text,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino & (1 << 63) - 1,
        status.st_dev & (1 << 63) - 1,
    )


def sha256_of(path: Path) -> tuple[str, int]:
    """A file's sha256 in hex and its size in bytes; ValidationError when it cannot be read."""
    return digests_of([path])[0]


def digests_of(
    paths: Sequence[Path], read: Callable[[int], object] = lambda count: None
) -> list[tuple[str, int]]:
    """The same for many files at once; `read` is told how many bytes were read."""
    now = time.time()
    looks = [look_at(path) for path in paths]
    usable = [look for look in looks if look and look.size >= SMALLEST and not look.is_young(now)]
    known = _known(usable) if usable else {}
    found = in_parallel(lambda pair: _digest(*pair, known, read), list(zip(paths, looks, strict=True)))
    note([(look, sha256) for (sha256, _), look in found if look])
    return [digest for digest, _ in found]


def _digest(
    path: Path, look: Look | None, known: Mapping[Look, str], read: Callable[[int], object]
) -> tuple[tuple[str, int], Look | None]:
    """((sha256, size), the look to remember it by, None where there is nothing new to remember)."""
    if look is not None and look in known:
        return (known[look], look.size), None
    now = time.time()
    digest = _hashed(path, read)
    if look is None or look.size < SMALLEST or look.is_young(now, _margin(look)) or look != look_at(path):
        return digest, None
    return digest, look


def _margin(look: Look) -> float:
    return YOUNG if look.mtime_ns % 1_000_000 == 0 else YOUNG_WITH_FINE_TIMES


def _hashed(path: Path, read: Callable[[int], object]) -> tuple[str, int]:
    digest, size, buffer = hashlib.sha256(), 0, bytearray(PIECE)
    view = memoryview(buffer)
    with open_file(path) as file:
        while got := file.readinto(buffer):  # type: ignore[attr-defined]
            digest.update(view[:got])
            size += got
            read(got)
    return digest.hexdigest(), size


def note_own(files: Iterable[tuple[Path, str]]) -> None:
    """Remembers files that were just written here and whose times were set back by `set_back`."""
    looks = ((look_at(path), sha256) for path, sha256 in files)
    note([(look, sha256) for look, sha256 in looks if look is not None and look.size >= SMALLEST])


def set_back(path: Path) -> None:
    """Says that a file is older than it is: whoever changes it from now on gives it another time."""
    before = time.time_ns() - int((YOUNG + 1) * 1e9)
    os.utime(path, ns=(before, before))


def note(rows: list[tuple[Look, str]]) -> None:
    """Remembers digests; a cache that cannot be written is none."""
    if not rows:
        return
    with _cache() as cache:
        if cache is not None:
            moment = int(time.time())
            cache.executemany(NOTE, [(*look.row(), sha256, moment) for look, sha256 in rows])
            count = cache.execute("SELECT count(*) FROM digests").fetchone()[0]
            if count > MOST_ROWS:
                cache.execute(FORGET, (count - MOST_ROWS // 2,))


def _known(looks: Iterable[Look]) -> dict[Look, str]:
    with _cache() as cache:
        if cache is not None:
            rows = ((look, cache.execute(FIND, look.row()).fetchone()) for look in looks)
            return {look: str(row[0]) for look, row in rows if row}
    return {}


@contextmanager
def _cache() -> Iterator[sqlite3.Connection | None]:
    """The cache in one transaction, or None; whatever is wrong with it stays without effect."""
    connection = None
    with suppress(OSError, sqlite3.Error, RuntimeError):
        connection = _connect()
    try:
        yield connection
        if connection is not None:
            connection.commit()
    except sqlite3.Error:
        pass
    finally:
        if connection is not None:
            connection.close()


def _connect() -> sqlite3.Connection | None:
    path = cache_folder() / "digests.sqlite"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if hasattr(os, "geteuid") and os.fstat(descriptor).st_uid != os.geteuid():
            return None
    finally:
        os.close(descriptor)
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def cache_folder() -> Path:
    """PODSTACK_CACHE_DIR, else XDG_CACHE_HOME/podstack, else ~/.cache/podstack."""
    chosen = os.environ.get("PODSTACK_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "podstack"
