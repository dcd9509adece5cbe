"""Which files are meant: by path, by folder, by pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from podstack.errors import NotFoundError
from podstack.models import ArtifactFile


def chosen(files: Sequence[ArtifactFile], paths: str | Iterable[str]) -> list[ArtifactFile]:
    """The files that any of `paths` names, holds as a folder or fits as a pattern, in the order of `files`.

    * and ? stay within one name, ** is any number of folders; a pattern without a / is looked for in all folders.
    NotFoundError for a path that fits none.
    """
    wanted: set[str] = set()
    for path in [paths] if isinstance(paths, str) else paths:
        fitting = {file.path for file in files if _fits(file.path, path)}
        if not fitting:
            raise NotFoundError(f"There is no file {path}.", hint="List the files to see their paths.")
        wanted |= fitting
    return [file for file in files if file.path in wanted]


def _fits(path: str, asked: str) -> bool:
    plain = asked.strip("/")
    if (path + "/").startswith(plain + "/"):
        return True
    patterns = plain.split("/") if "/" in plain else ["**", plain]
    if patterns[-1] == "**":
        patterns.append("*")
    return _matches(path.split("/"), patterns)


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether names fit patterns one by one, where ** fits any number of names."""
    reached = _past_any({0}, patterns)
    for part in parts:
        stay = {at for at in reached if at < len(patterns) and patterns[at] == "**"}
        go = {at + 1 for at in reached if at < len(patterns) and fnmatchcase(part, patterns[at])}
        reached = _past_any(stay | go, patterns)
    return len(patterns) in reached


def _past_any(reached: set[int], patterns: Sequence[str]) -> set[int]:
    for at in sorted(reached):
        while at < len(patterns) and patterns[at] == "**":
            at += 1
            reached.add(at)
    return reached
