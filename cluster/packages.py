"""Packages of code: zip files that are named by what they hold, so that the same one is sent once."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from cluster.dashboard import Dashboard
from cluster.errors import ClusterRefused

LONGEST = 256 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """The files by their path; equal files give equal bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[path], zipfile.ZIP_DEFLATED)
    return target.getvalue()


def sources_of(*folders: Path) -> dict[str, bytes]:
    """Python files of packages, by their path as they are imported."""
    return {
        path.relative_to(folder.parent).as_posix(): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*.py")
    }


def name_of(content: bytes) -> str:
    """The package's name on the cluster."""
    return f"_ray_pkg_{hashlib.sha256(content).hexdigest()[:32]}.zip"


def send(dashboard: Dashboard, content: bytes) -> str:
    """Makes sure that the cluster holds the package; its URI."""
    if len(content) > LONGEST:
        raise ClusterRefused(
            f"The code has {len(content)} bytes when zipped; a cluster takes at most {LONGEST}."
        )
    name = name_of(content)
    if not dashboard.has_package(name):
        dashboard.put_package(name, content)
    return f"gcs://{name}"
