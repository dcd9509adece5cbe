"""An account of its own for each service, where the engine is root: ids that no user of the machine has."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

FIRST, LAST = 62000, 62999  # within the range that systemd keeps for accounts without an entry
CODE = Path(__file__).resolve().parent.parent
FORBIDDEN = "This machine does not let the engine change accounts, so serving processes run as root."
UNREADABLE = (
    "An unprivileged account cannot read the interpreter or the code, so serving processes run as root; "
    "install the platform where others may read it (mode 755)."
)
# numpy and gunicorn stand for all packages of the environment
CAN_IT = "import gunicorn.app.base, numpy, serving.spawn"


def usable() -> str:
    """'' when serving processes can be given accounts of their own, else one sentence that says why not."""
    if os.geteuid() != 0:
        return "The engine is not root, so serving processes run as its own user."
    try:
        done = subprocess.run(
            [sys.executable, "-PB", "-c", CAN_IT],
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(CODE)},
            cwd="/",
            user=FIRST,
            group=FIRST,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    except OSError as error:
        return UNREADABLE if error.filename else FORBIDDEN
    except (ValueError, subprocess.SubprocessError):
        return FORBIDDEN
    return UNREADABLE if done.returncode else ""


def free(taken: Iterable[int], among: Iterable[int] = range(FIRST, LAST + 1)) -> int | None:
    """An id that is not taken, and that no user of the machine has; None when there is none."""
    used = {*taken, *(entry.pw_uid for entry in pwd.getpwall())}
    return next((uid for uid in among if uid not in used), None)


def others_can_read(folder: Path) -> bool:
    """Whether an account without any rights of its own can read all of a folder."""
    try:
        parents = all(one.stat().st_mode & stat.S_IXOTH for one in folder.resolve().parents)
        return parents and all(_readable(one) for one in (folder, *folder.rglob("*")))
    except OSError:
        return False


def _readable(path: Path) -> bool:
    mode = path.stat().st_mode
    needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return mode & needed == needed
