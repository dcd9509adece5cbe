"""The example that a new platform plays, so that its first page shows a real model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Mapping

from config.env import NAMES, ROOT, Env
from launcher.commands import PYTHON
from launcher.house import read_exports
from launcher.process import ends_with_parent

SCRIPT = ROOT / "examples" / "integration.py"
SECONDS = 300


def is_wanted(env: Env) -> bool:
    """Whether the example is to be played: asked for, not played before, and nothing is there yet."""
    if not env.demo or (env.var_dir / "demo.played").exists() or not SCRIPT.exists():
        return False
    access = read_exports(env.var_dir / "dev.env")
    return bool(access) and _is_empty(access)


def play(env: Env, keep_waiting: Callable[[Callable[[], bool], float], bool]) -> str:
    """Play the example on the terminal. Returns a sentence when it failed, else an empty text.

    `keep_waiting(happened, seconds)` waits, and returns early when the platform is to end.
    """
    environ = {name: value for name, value in os.environ.items() if name not in NAMES}
    environ |= read_exports(env.var_dir / "dev.env") | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [PYTHON, str(SCRIPT)],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=ends_with_parent(signal.SIGTERM),
    )
    keep_waiting(lambda: process.poll() is not None, SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()
        return "The example was ended before it was through."
    if process.returncode:
        return (
            f"The example failed (status {process.returncode}, see above); the platform goes on without it."
        )
    (env.var_dir / "demo.played").touch()
    return ""


def _is_empty(access: Mapping[str, str]) -> bool:
    try:
        return not any(_has_any(access, noun) for noun in ("experiments", "models"))
    except (OSError, ValueError, KeyError):
        return False


def _has_any(access: Mapping[str, str], noun: str) -> bool:
    address = (
        f"{access['PODSTACK_API_ENDPOINT']}/api/v1/projects/{access['PODSTACK_PROJECT']}/{noun}?page_size=1"
    )
    headers = {"Authorization": f"Bearer {access['PODSTACK_API_TOKEN']}"}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 -- PUBLIC_URL, checked by config.env
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return bool(json.load(answer)["results"])
