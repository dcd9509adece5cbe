"""Training as processes of this machine, each under a supervisor of its own that outlives the worker.

The truth lies in the execution's folder: `lock` is held by the supervisor as long as it lives, `result.json`
appears when all has ended, and whoever starts it holds `starting` meanwhile. So whoever looks, after whatever crash,
sees the same, and nothing starts twice.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scheduling.engines.base import EngineAway, EngineError, Seen, Work
from scheduling.engines.supervisor import is_script
from serving import account

log = logging.getLogger(__name__)

SUPERVISOR = Path(__file__).with_name("supervisor.py")
ROOT = Path(__file__).resolve().parent.parent.parent
ACCOUNTS = range(63000, 64000)  # beside those of serving
STARTED_WITHIN = 10.0  # seconds
MARK = "PODSTACK_EXECUTION_ID"


class LocalTraining:
    """Keeps a folder per execution below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def start(self, work: Work) -> None:
        folder = self._folder(work.execution_id)
        try:
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            with _alone(folder / "starting"):
                if self.observe(work.execution_id).state != "absent":
                    return
                self._prepare(folder, work)
                self._spawn(folder)
        except OSError as error:
            raise EngineError(f"The training process could not be started: {error.strerror}.") from error

    def _prepare(self, folder: Path, work: Work) -> None:
        shutil.rmtree(folder / "work", ignore_errors=True)
        self.root.chmod(0o711)
        code = folder / "work"
        work.bring_code(code)
        _make_writable(code)
        (folder / "configuration.json").write_text(json.dumps(work.configuration))
        uid = self._take_account(folder) if _accounts_usable() else None
        if uid is not None:
            _give_to(code, uid)
            os.chown(folder / "configuration.json", uid, uid)
        spec = {
            "command": list(work.command),
            "env": {**work.env, **work.made_secrets(), **_places(folder), MARK: work.execution_id},
            "timeout": work.timeout,
            "memory": work.memory,
            "cpu": work.cpu,
            "file_size": work.file_size,
            "uid": uid,
        }
        # It carries the run's token: nobody else may read it.
        with open(os.open(folder / "spec.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(spec, file)

    def _take_account(self, folder: Path) -> int:
        """An id that no other execution and no process has; a file beside the program's own keeps it as long as these."""
        with (self.root / "accounts").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            own = _accounts_in(folder, "account-*")
            uid = next(iter(own), None) or account.free(
                {*_accounts_in(self.root, "*/account-*"), *_owners_of_processes()}, ACCOUNTS
            )
            if uid is None:
                raise EngineAway(f"All {len(ACCOUNTS)} accounts for training programs are taken.")
            (folder / f"account-{uid}").touch()
        return uid

    def _spawn(self, folder: Path) -> None:
        with (folder / "supervisor.log").open("ab") as said:
            subprocess.Popen(
                [sys.executable, "-I", str(SUPERVISOR), str(folder)],
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        end = time.monotonic() + STARTED_WITHIN
        while not (_is_locked(folder / "lock") or (folder / "result.json").exists()):
            if time.monotonic() > end:
                raise EngineError(
                    "The training process could not be started: its supervisor did not come up."
                )
            time.sleep(0.02)

    def observe(self, execution_id: str) -> Seen:
        folder = self._folder(execution_id)
        found = _result(folder)
        if found is not None:
            return found
        if _is_locked(folder / "lock"):
            return Seen("running")
        # It may have ended between the two looks.
        found = _result(folder)
        if found is not None:
            return found
        if not (folder / "lock").exists():
            return Seen("absent")
        _kill_left_over(execution_id)
        return Seen(
            "lost",
            reason="lost",
            details="Its processes vanished: the machine went down, or somebody killed them.",
        )

    def stop(self, execution_id: str) -> None:
        folder = self._folder(execution_id)
        if folder.is_dir():
            (folder / "stop").touch()

    def log(self, execution_id: str, offset: int, limit: int) -> bytes:
        try:
            with (self._folder(execution_id) / "log").open("rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def log_size(self, execution_id: str) -> int:
        try:
            return (self._folder(execution_id) / "log").stat().st_size
        except FileNotFoundError:
            return 0

    def forget(self, execution_id: str) -> None:
        """While its supervisor lives the folder stays: by it alone the process can be seen and stopped."""
        folder = self._folder(execution_id)
        try:
            with (folder / "lock").open("a+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            self.stop(execution_id)
        except FileNotFoundError:
            return

    def _folder(self, execution_id: str) -> Path:
        return self.root / execution_id


def _places(folder: Path) -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)
    return {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "HOME": str(folder / "work"),
        "LANG": "C.UTF-8",
        "PODSTACK_CONFIGURATION": str(folder / "configuration.json"),
    }


def _result(folder: Path) -> Seen | None:
    try:
        said = json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        return None
    return Seen("ended", **said)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock; EngineAway where another worker has it, which may be slow, or frozen."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EngineAway("Another worker is starting it.") from error
        yield


def _is_locked(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _accounts_in(folder: Path, pattern: str) -> set[int]:
    return {int(path.name.removeprefix("account-")) for path in folder.glob(pattern)}


def _owners_of_processes() -> set[int]:
    """What outlived its supervisor keeps its account until it ends."""
    owners = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            owners.add(entry.stat().st_uid)
    return owners


def _accounts_usable() -> bool:
    """Whether the worker is root, and other accounts can read the platform's code."""
    global _usable
    if _usable is None:
        lacking = account.usable()
        if lacking and os.geteuid() == 0:
            log.warning("Training programs run as root here, with all its rights. %s", lacking)
        _usable = lacking == ""
    return _usable


_usable: bool | None = None


def _make_writable(folder: Path) -> None:
    """A script can be run as a program too: modes are not kept with the code, its first line is."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() or is_script(path) else 0o600)


def _give_to(folder: Path, uid: int) -> None:
    os.chown(folder, uid, uid)
    for path in folder.rglob("*"):
        os.chown(path, uid, uid, follow_symlinks=False)


def _kill_left_over(execution_id: str) -> None:
    """Ends processes that outlived a killed supervisor: they carry the execution's mark in their environment."""
    mark = f"{MARK}={execution_id}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue
