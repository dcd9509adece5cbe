"""The embedded broker: a Redis-protocol server on 127.0.0.1 with a random password.

It keeps nothing: a message is only a hint, the database says what is to be done.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from launcher import ports, programs
from launcher.errors import LaunchError
from launcher.process import Account, Child, ChildHolder, account_named, last_lines, wait_until

START_SECONDS = 20
DATABASES = 64


class Broker(ChildHolder):
    """A Redis or Valkey server; its URL, password included, stays the same when it is started again."""

    name = "broker"

    def __init__(self, *, log: Path) -> None:
        super().__init__(log)
        self._password = secrets.token_hex(24)
        self._port = ports.free_port()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"redis://:{self._password}@{ports.LOOPBACK}:{self._port}/0"

    def start(self) -> str:
        """Start the server, wait until it answers and return its URL. Raises LaunchError when it does not."""
        program = programs.find_broker()
        self._child = Child(
            self.name,
            [str(program), "-"],  # its settings come by stdin: a command line is readable by all
            log=self.log,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            account=_account_for(program),
        )
        self._child.start(stdin=self._settings().encode())
        wait_until(lambda: ports.answers(self._port) or bool(self.ended()), START_SECONDS)
        if self.ended() or not ports.answers(self._port):
            self.stop()
            said = "\n".join(last_lines(self.log))
            raise LaunchError(f"The broker did not start; the end of {self.log} says why:\n{said}")
        return self.url

    def _settings(self) -> str:
        lines = (
            f"bind {ports.LOOPBACK}",
            f"port {self._port}",
            f"requirepass {self._password}",
            f"databases {DATABASES}",
            "daemonize no",
            'save ""',
            "appendonly no",
            "dir /",
        )
        return "\n".join(lines) + "\n"


def _account_for(program: Path) -> Account | None:
    """Run by root: an unprivileged account, where it can reach the program."""
    if os.geteuid() != 0:
        return None
    try:
        account = account_named("nobody")
    except KeyError:
        return None
    return account if account.can("-x", program) else None
