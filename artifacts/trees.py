"""A list of files as folders within folders, for pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Folder:
    """`path` ends with a slash and is "" at the top; `count` and `size` (bytes) are of all files below."""

    name: str
    path: str
    folders: list[Folder] = field(default_factory=list)
    files: list[tuple[str, Any]] = field(default_factory=list)
    count: int = 0
    size: int = 0


def tree_of(files: Iterable[Any]) -> Folder:
    """The tree of files that have a `path` and a `blob`, folders before files, both by name as they come."""
    top = Folder("", "")
    known = {"": top}
    for file in files:
        folders, _, name = file.path.rpartition("/")
        for folder in _way(known, folders):
            folder.count += 1
            folder.size += file.blob.size
        known[f"{folders}/" if folders else ""].files.append((name, file))
    return top


def _way(known: dict[str, Folder], folders: str) -> list[Folder]:
    """The folders from the top down to this one, made where they are new."""
    way, path = [known[""]], ""
    for name in folders.split("/") if folders else ():
        path += f"{name}/"
        if path not in known:
            known[path] = Folder(name, path)
            way[-1].folders.append(known[path])
        way.append(known[path])
    return way
