"""Files of this machine, and the paths that they get on the server."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from podstack.errors import PodstackWarning, ValidationError
from podstack.files.progress import Progress

FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:|^/")


@dataclass(frozen=True)
class LocalFile:
    """A file to upload: where it lies here, and the path it gets on the server."""

    source: Path
    path: str


@dataclass(frozen=True)
class HashedFile(LocalFile):
    """A file as it was when it was hashed; `size` in bytes."""

    sha256: str
    size: int
    progress: Progress | None = field(default=None, compare=False, repr=False)

    def sent(self, count: int) -> None:
        """So many of its bytes are on their way."""
        if self.progress is not None:
            self.progress.add(count)


def as_path(name: str, value: Any) -> Path:
    """The path that an argument called `name` holds; ValidationError for a model, a figure or whatever else it is."""
    if isinstance(value, str | os.PathLike) and os.fspath(value):
        return Path(value)
    if isinstance(value, str):
        raise ValidationError(f"{name} is empty.", hint="Give the path of what lies here.")
    raise ValidationError(
        f"{name} is of type {type(value).__name__}; it must be the path of a file or folder.",
        hint='Save it to a file first, a model for example by joblib.dump(model, "model.joblib"), and give its path.',
    )


def check_path(path: str) -> str:
    """`path` as a relative POSIX path; ValidationError for what could lead out of a folder."""
    normal = str(PurePosixPath(path)) if path else ""
    if not normal or normal == "." or FORBIDDEN.search(path) or ".." in PurePosixPath(path).parts:
        raise ValidationError(
            f"{path!r} is not a path that an artifact can have.",
            hint="Use a relative path with / between its parts, without .. and control characters.",
        )
    return normal


def open_file(path: Path) -> BinaryIO:
    """A regular file for reading; ValidationError when there is none."""
    try:
        if path.is_file():
            return path.open("rb")
    except OSError as error:
        raise ValidationError(f"{path} cannot be read: {error.strerror}.") from error
    if path.is_dir():
        raise ValidationError(f"{path} is a folder, no file.")
    raise ValidationError(f"There is no file {path}.", hint=f"Paths begin at {Path.cwd()}.")


def changed(file: HashedFile) -> ValidationError:
    """The refusal of a file that is no longer what was hashed."""
    return ValidationError(
        f"{file.source} changed while it was being uploaded.",
        hint="Log it again once it is written completely.",
        code="digest_mismatch",
    )


def files_to_log(local: Path, artifact_path: str | None) -> list[LocalFile]:
    """What logging one path uploads: a file under its own name, a folder with all it holds under its."""
    if local.is_dir():
        return files_below(local, str(PurePosixPath(artifact_path or "") / local.resolve().name))
    return [LocalFile(local, check_path(str(PurePosixPath(artifact_path or "") / local.name)))]


def files_below(folder: Path, artifact_path: str | None) -> list[LocalFile]:
    """All files below a folder, each at its relative path below `artifact_path`.

    Links to folders are not followed, with a warning; devices and sockets are left out.
    """
    if folder.is_file():
        raise ValidationError(f"{folder} is a file, no folder.", hint="Name the folder that it lies in.")
    if not folder.is_dir():
        raise ValidationError(f"There is no folder {folder}.", hint=f"Paths begin at {Path.cwd()}.")
    found = []
    for root, folders, names in os.walk(folder):
        for name in folders:
            if Path(root, name).is_symlink():
                text = f"{Path(root, name)} is a link to a folder and was left out; log it by itself."
                warnings.warn(text, PodstackWarning, stacklevel=4)
        for path in (Path(root, name) for name in sorted(names)):
            if path.is_file():
                remote = PurePosixPath(artifact_path or "", path.relative_to(folder).as_posix())
                found.append(LocalFile(path, check_path(str(remote))))
    return found
