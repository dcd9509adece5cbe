"""One service on a machine of a cluster, run by the same engine as those of the platform's own machine.

Each has a place of its own on the machine, taken by a lock that ends with its process: a folder, and an account
where the process is root. The environments of versions with packages of their own are shared by all.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import tempfile
import threading
import time
from pathlib import Path

from serving.problems import CannotLoad
from serving.service import Settings, Spec
from serving.services import Services

# Apart from the accounts of the embedded engine and of trainings, which may be on the same machine.
FIRST, LAST = 64000, 64999
LOOK = 0.1  # seconds


class OneService:
    """A service that begins at once and ends with this process. `log` is where its processes write."""

    def __init__(self, spec: Spec, key: str, settings: Settings, log: Path) -> None:
        home = home_of_this_user()
        self._lock, number = _take_place(home)
        self._services = Services(
            home / str(number),
            settings,
            logs=log.parent,
            environments=home / "environments",
            uid=number if os.geteuid() == 0 else None,
        )
        self._name = log.stem
        self._services.put(self._name, spec)
        self._services.get(self._name).key = key  # before anything of it is started
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look_after, daemon=True)
        self._thread.start()

    def address(self) -> str:
        """Where it answers, once it does. Raises `CannotLoad` when it failed."""
        while not self.ready():
            time.sleep(LOOK)
        return f"http://127.0.0.1:{self._services.get(self._name).port}"

    def ready(self) -> bool:
        """Whether it answers. Raises `CannotLoad` when it failed."""
        service = self._services.get(self._name)
        if service.state == "failed":
            raise CannotLoad(service.reason)
        return service.state == "ready"

    def end(self) -> None:
        """Returns when no process of it is left."""
        self._ending.set()
        self._services.wake()
        self._thread.join()
        os.close(self._lock)

    def _look_after(self) -> None:
        """The kernel ties the serving processes to this thread."""
        while not self._ending.is_set():
            self._services.step()
        self._services.stop_all()


def home_of_this_user() -> Path:
    """Where this machine's services have their places: others may pass through it and list nothing."""
    home = Path(tempfile.gettempdir()) / f"serving-{os.getuid()}"
    home.mkdir(mode=0o711, exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != os.getuid():
        raise CannotLoad(f"{home} belongs to somebody else: remove it from the node.")
    home.chmod(0o711)
    return home


def _take_place(home: Path) -> tuple[int, int]:
    """A descriptor that holds a place, and its number, which is that of no user of the machine."""
    users = {entry.pw_uid for entry in pwd.getpwall()}
    for number in range(FIRST, LAST + 1):
        if number in users:
            continue
        lock = os.open(home / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return lock, number
    raise CannotLoad(f"The node runs {LAST - FIRST + 1} services already.")
