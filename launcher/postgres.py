"""The embedded PostgreSQL: made, started and ended by us, on 127.0.0.1 with passwords, never as root."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from launcher import ports, programs
from launcher.errors import LaunchError
from launcher.process import Account, Child, ChildHolder, account_named, account_of, last_lines, wait_until

DATABASE = "podstack"
OUTSIDE = Path("/var/lib")
START_SECONDS = 300
_PORT_TAKEN = "Address already in use"
_OLD_BACKENDS = "is still in use"
_UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Postgres(ChildHolder):
    """A PostgreSQL server whose data lies below `var_dir` and stays there.

    Run by root, the server runs as the account postgres (or nobody). When that account cannot reach
    `var_dir`, the data goes into a folder below /var/lib, which `postgres.place` in `var_dir` remembers.
    `durable=False` is for tests: faster, and its data is lost when the machine stops. A start waits for crash
    recovery as long as that takes, until `give_up()` is true.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": sessions end, everything is written
    kill_signal = signal.SIGQUIT  # "immediate": the next start recovers

    def __init__(
        self,
        var_dir: Path,
        *,
        source: str = "auto",
        durable: bool = True,
        max_connections: int = 100,
        log: Path | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.var_dir = var_dir.resolve()
        super().__init__(log or self.var_dir / "logs" / "postgres.log")
        self.version = ""
        self._source = source
        self._durable = durable
        self._give_up = give_up
        self._max_connections = max_connections
        self._lock: int | None = None
        self._remembered = self.var_dir / "postgres.place"

    def start(self) -> str:
        """Start the server, making its data at the first time, and return the URL of its database.

        Raises LaunchError with a sentence when it cannot.
        """
        self.var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = self._account()
        place = self._place(account)
        self._take_lock(place)
        data = place / "data"
        postgres = programs.find_postgres(self._source, _major_of(data))
        if account and postgres.in_wheel and not account.can("-x", postgres.bin / "postgres"):
            postgres = programs.copy_wheel(postgres, place)
        if not data.exists():
            self._make_data(postgres, place, account)
        _end_predecessor(data)
        port = self._launch(postgres, place, account)
        self.version = postgres.version
        return f"postgresql://{DATABASE}:{_password(place)}@{ports.LOOPBACK}:{port}/{DATABASE}"

    def stop(self, *, seconds: float = 60) -> None:
        """End the server cleanly and let go of its data."""
        super().stop(seconds=seconds)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def destroy(self) -> None:
        """End the server and delete its data for good (for tests)."""
        self.stop()
        shutil.rmtree(self._chosen_place(), ignore_errors=True)
        self._remembered.unlink(missing_ok=True)

    def _chosen_place(self) -> Path:
        if self._remembered.exists():
            return Path(self._remembered.read_text().strip())
        return self.var_dir / "postgres"

    def _account(self) -> Account | None:
        """Whom the server runs as: None is ourselves; run by root, the data's owner or postgres or nobody."""
        if os.geteuid() != 0:
            return None
        with contextlib.suppress(FileNotFoundError, KeyError):
            owner = (self._chosen_place() / "data").stat().st_uid
            if owner != 0:
                return account_of(owner)
        try:
            return account_named("postgres", "nobody")
        except KeyError:
            raise LaunchError(
                "PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as: "
                "add one (`useradd --system postgres`), run as an ordinary user, or set DATABASE_URL."
            ) from None

    def _place(self, account: Account | None) -> Path:
        """The folder of data, password and port, reachable for the account."""
        place = self._chosen_place()
        if account and not (place / "data").exists() and place.parent == self.var_dir:
            if account.can("-x", self.var_dir.parent):
                self.var_dir.chmod(self.var_dir.stat().st_mode | 0o011)
            else:
                place = self._place_outside()
        place.mkdir(mode=0o711 if account else 0o700, parents=True, exist_ok=True)
        if account:
            place.chmod(0o711)
            if not account.can("-x", place):
                raise LaunchError(
                    f"The account {account.name}, which PostgreSQL runs as, cannot reach {place}: "
                    "set VAR_DIR to a folder that it can reach, or set DATABASE_URL."
                )
        elif (place / "data").exists() and (place / "data").stat().st_uid != os.geteuid():
            raise LaunchError(
                f"The database in {place / 'data'} belongs to another account: start as that one or as root."
            )
        self._check_not_copied(place)
        return place

    def _place_outside(self) -> Path:
        """A new folder below /var/lib, written into `postgres.place` so that it is found again."""
        digest = hashlib.sha256(str(self.var_dir).encode()).hexdigest()[:12]
        place, number = OUTSIDE / f"podstack-{digest}", 1
        while place.exists():  # of a VAR_DIR that was deleted: never revived, never deleted
            number += 1
            place = OUTSIDE / f"podstack-{digest}-{number}"
        place.mkdir(mode=0o711, parents=True)
        (place / "belongs_to").write_text(f"{self.var_dir}\n")
        self._remembered.write_text(f"{place}\n")
        return place

    def _check_not_copied(self, place: Path) -> None:
        """A copied VAR_DIR remembers the same place, but two platforms must not share one database."""
        note = place / "belongs_to"
        if not note.exists() or (owner := Path(note.read_text().strip())) == self.var_dir:
            return
        with contextlib.suppress(FileNotFoundError):
            if Path((owner / "postgres.place").read_text().strip()) == place:
                raise LaunchError(
                    f"{self.var_dir} is a copy of {owner}, whose database lies in {place}: delete "
                    f"{self._remembered} to begin with an empty database, then restore a dump into it."
                )
        note.write_text(f"{self.var_dir}\n")

    def _take_lock(self, place: Path) -> None:
        if self._lock is not None:
            return
        lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise LaunchError(
                f"The database in {place} is in use by another launcher: end that one first."
            ) from None
        self._lock = lock

    def _make_data(self, postgres: programs.Postgres, place: Path, account: Account | None) -> None:
        """Make the data folder under another name first: an interrupted start leaves no half of one."""
        draft, password_file = place / "data.new", place / "initdb.password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        # Read after the drop. Nobody keeps this password: the platform's own role is no superuser.
        _write_secret(password_file, secrets.token_hex(24))
        if account:
            for path in (draft, password_file):
                os.chown(path, account.uid, account.gid)
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        command = [
            str(postgres.bin / "initdb"),
            "-D",
            str(draft),
            "-U",
            "postgres",
            f"--pwfile={password_file}",
        ]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=libc", f"--locale={locale}"]
        command += ["--no-instructions"] + ([] if self._durable else ["--no-sync"])
        _run(command, account)
        password_file.unlink()
        _write_secret(place / "password", secrets.token_hex(24))
        self._make_database(postgres, draft, _password(place), account)
        draft.replace(place / "data")

    def _make_database(
        self, postgres: programs.Postgres, data: Path, password: str, account: Account | None
    ) -> None:
        statements = (
            f"CREATE ROLE {DATABASE} LOGIN CREATEDB PASSWORD '{password}';\n"
            f"CREATE DATABASE {DATABASE} OWNER {DATABASE};\n"
        )
        command = [str(postgres.bin / "postgres"), "--single", "-D", str(data), *self._options(), "postgres"]
        _run(command, account, statements)

    def _options(self) -> list[str]:
        return [] if self._durable else [word for option in _UNSAFE for word in ("-c", option)]

    def _launch(self, postgres: programs.Postgres, place: Path, account: Account | None) -> int:
        """Start the server and wait until it is ready; returns its port."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            port = _kept_port(place)
            self._child = self._server(postgres, place, port, account)
            self._child.start()
            if self._became_ready(self._child, place / "data", deadline):
                return port
            said = "\n".join(last_lines(self.log))
            retry = _PORT_TAKEN in said or _OLD_BACKENDS in said
            if self._give_up() or not (self.ended() and retry and time.monotonic() < deadline):
                self.stop()
                raise LaunchError(f"PostgreSQL did not start; the end of {self.log} says why:\n{said}")
            time.sleep(0.2)

    def _became_ready(self, child: Child, data: Path, deadline: float) -> bool:
        seconds = deadline - time.monotonic()
        wait_until(lambda: _is_ready(data, child.pid) or bool(child.ended()) or self._give_up(), seconds)
        return _is_ready(data, child.pid) and not child.ended()

    def _server(self, postgres: programs.Postgres, place: Path, port: int, account: Account | None) -> Child:
        settings = {
            "listen_addresses": ports.LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": str(self._max_connections),
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        command = [str(postgres.bin / "postgres"), "-D", str(place / "data"), *self._options()]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        return Child(
            self.name,
            command,
            log=self.log,
            env=_clean_environment(),
            account=account,
            stop_signal=self.stop_signal,
            kill_signal=self.kill_signal,
        )


def _clean_environment() -> dict[str, str]:
    """Nothing of ours: PGPORT and its like would change what the server does."""
    return {"PATH": os.defpath, "LC_ALL": "C"}


def _run(command: list[str], account: Account | None, stdin: str = "") -> None:
    options = account.subprocess_options() if account else {}
    done = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env=_clean_environment(),
        start_new_session=True,
        **options,
    )
    # The single-user server says an error and goes on.
    if done.returncode or "ERROR:" in done.stdout:
        raise LaunchError(
            f"The database could not be made; {Path(command[0]).name} says:\n{done.stdout.strip()}"
        )


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")


def _password(place: Path) -> str:
    try:
        return (place / "password").read_text().strip()
    except FileNotFoundError:
        raise LaunchError(
            f"The database's password is missing: put {place / 'password'} back from your backup."
        ) from None


def _major_of(data: Path) -> int | None:
    """The major version that made a data folder, None when there is none yet."""
    if not data.exists():
        return None
    try:
        return int((data / "PG_VERSION").read_text())
    except (FileNotFoundError, ValueError):
        raise LaunchError(
            f"{data} is no PostgreSQL data folder: move it away or restore it from a backup."
        ) from None


def _kept_port(place: Path) -> int:
    """The port of the last start, or a new one if it is taken."""
    file = place / "port"
    with contextlib.suppress(FileNotFoundError, ValueError):
        kept = int(file.read_text())
        if ports.is_free(kept):
            return kept
    port = ports.free_port()
    file.write_text(f"{port}\n")
    return port


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _is_ready(data: Path, pid: int | None) -> bool:
    """What pg_ctl looks at, too: the eighth line is the state."""
    lines = _pid_file(data)
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _end_predecessor(data: Path) -> None:
    """End a server that a killed launcher left on our data, and clear a stale postmaster.pid.

    We hold the lock, so no living launcher owns that server.
    """
    lines = _pid_file(data)
    pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
    if not pid:
        return
    if not _is_server_of(pid, data):
        # Its number may belong to another process by now, and PostgreSQL would then refuse to start.
        (data / "postmaster.pid").unlink(missing_ok=True)
        return
    for number, seconds in ((signal.SIGINT, 60), (signal.SIGQUIT, 20)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: not _is_server_of(pid, data), seconds):
            return
    raise LaunchError(
        f"An older PostgreSQL (process {pid}) runs on {data} and does not end: end it, then start again."
    )


def _is_server_of(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL server that works in this data folder."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cwd").resolve(strict=True) == data.resolve()
        except OSError:
            return False
    said = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
    return "postgres" in said and str(data) in said
