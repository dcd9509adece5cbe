"""Databases with all tables: the migrations run once for a session, and each database of its tests is a copy.

Run as a program: makes the one that is copied, for who starts several processes at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "PODSTACK_TEST_FOLDER"  # the session's own, the same for all of its processes


def migrated() -> str:
    """The name of the database that is copied, which the first process that asks for it makes."""
    folder, name = Path(os.environ[FOLDER]), f"{_path().lstrip('/')}_migrated"
    with (folder / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "migrated").exists():
            _say(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
            command = [sys.executable, "-W", "ignore", "manage.py", "migrate", "--noinput", "--skip-checks"]
            environ = {**os.environ, "DATABASE_URL": _url(name), "DJANGO_SETTINGS_MODULE": "config.settings"}
            done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "migrated").touch()
    return name


@contextlib.contextmanager
def copied() -> Iterator[str]:
    """The URL of a new database with all tables and no rows but the migrations' own; it is dropped afterwards."""
    name = f"copy_{secrets.token_hex(6)}"
    _say(f'CREATE DATABASE "{name}" TEMPLATE "{migrated()}"')
    try:
        yield _url(name)
    finally:
        _say(f'DROP DATABASE "{name}" WITH (FORCE)')


def forget() -> None:
    """Drops the database that is copied."""
    with contextlib.suppress(psycopg.Error):
        _say(f'DROP DATABASE IF EXISTS "{_path().lstrip("/")}_migrated" WITH (FORCE)')


def _path() -> str:
    return urlsplit(os.environ["DATABASE_URL"]).path


def _url(name: str) -> str:
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def _say(*statements: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as link:
        for statement in statements:
            link.execute(statement)  # type: ignore[call-overload]


if __name__ == "__main__":
    migrated()
