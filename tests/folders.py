"""Folders of tests that processes of other accounts read."""

from __future__ import annotations

import tempfile
from pathlib import Path


def open_to_others(folder: Path) -> None:
    """Lets other accounts pass through to the folder, which pytest keeps from them."""
    for each in (folder, *folder.parents):
        if each == Path(tempfile.gettempdir()):
            break
        each.chmod(0o755)
