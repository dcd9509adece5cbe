"""What a file inside a run or a version may be called: the one place where paths are checked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

from common.checks import shorten
from common.errors import Invalid

MAX_BYTES = 1024
MAX_PART_BYTES = 255
DRIVE = re.compile(r"[A-Za-z]:")
FORBIDDEN_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
RULE = 'Use a relative path such as "model/weights.pt", with / between its parts and without "..".'


def check_path(field: str, value: object) -> str:
    """A relative POSIX path of at most 1,024 bytes of UTF-8, parts of at most 255; else Invalid naming `field`.

    Refused are "", ".", "..", empty parts, a leading or closing "/", backslashes, drive letters, NUL, other
    control characters, line separators and lone surrogates.
    """
    if not isinstance(value, str):
        raise Invalid.field(field, f"{field} must be text, not {shorten(value)}.", RULE)
    reason = _fault(value)
    if reason:
        raise Invalid.field(field, f"{field} is {shorten(value)}, which {reason}.", RULE)
    return value


def _fault(path: str) -> str:
    """What is wrong with `path`, as the end of a sentence; "" where nothing is."""
    if not path:
        return "is empty"
    for char in path:
        if char == "\\" or unicodedata.category(char) in FORBIDDEN_CATEGORIES:
            return f"holds the character U+{ord(char):04X}"
    if len(path.encode()) > MAX_BYTES:
        return f"is longer than {MAX_BYTES} bytes"
    if path.startswith("/") or DRIVE.match(path):
        return "is not relative"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return 'has an empty part, "." or ".." in it'
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        return f"has a part longer than {MAX_PART_BYTES} bytes"
    return ""


def folders_of(path: str) -> Iterator[str]:
    """The folders that `path` lies in: "a/b/c" -> "a/b", "a"."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def file_that_is_a_folder(new: Collection[str], present: Collection[str] = ()) -> tuple[str, str] | None:
    """A pair (file, path inside it) among `new` and `present`, where one path is both file and folder; or None.

    `present` must be free of such pairs by itself.
    """
    everything = {*new, *present}
    for path in new:
        for folder in folders_of(path):
            if folder in everything:
                return folder, path
    fresh = set(new)
    for path in present:
        for folder in folders_of(path):
            if folder in fresh:
                return folder, path
    return None
