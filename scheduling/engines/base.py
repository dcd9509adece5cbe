"""What an engine that trains can do. The database says what is wanted; an engine says what is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class EngineError(Exception):
    """The engine cannot do this; the message says why in one sentence."""


class EngineAway(Exception):
    """The engine cannot be asked now: nothing is known, try again. The message is one sentence."""


@dataclass(frozen=True)
class Work:
    """One training process; `env` and `secrets` are all it gets.

    `timeout` and `cpu` in seconds, `memory` and `file_size` in bytes; None is no limit. Each of `secrets` is made only
    when its code is there and it is about to begin.
    """

    execution_id: str
    command: Sequence[str]
    env: Mapping[str, str]
    configuration: Mapping[str, object]
    timeout: int
    memory: int | None
    bring_code: Callable[[Path], None]
    secrets: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    cpu: int | None = None
    file_size: int | None = None

    def made_secrets(self) -> dict[str, str]:
        return {name: make() for name, make in self.secrets.items()}


@dataclass(frozen=True)
class Seen:
    """How a process stands. `state`: "absent" (never started here), "running", "ended" or "lost".

    duration and cpu_seconds in seconds, peak_memory in bytes; `reason` is a value of EndReason, or "" when the
    program ended with exit code 0.
    """

    state: str
    exit_code: int | None = None
    reason: str = ""
    duration: float | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    details: str = field(default="")


class TrainingEngine(Protocol):
    """Every call may raise EngineAway."""

    def start(self, work: Work) -> None:
        """Starts it; nothing happens where it runs or ran already. EngineError when it cannot be started."""

    def observe(self, execution_id: str) -> Seen:
        """How it stands, asked of the machine itself."""

    def stop(self, execution_id: str) -> None:
        """Has its whole process tree end; it is asked first and forced after a few seconds."""

    def log(self, execution_id: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes of what it wrote, from `offset` on; b"" where there is nothing."""

    def log_size(self, execution_id: str) -> int:
        """Bytes that it wrote so far."""

    def forget(self, execution_id: str) -> None:
        """Removes what is left of it; nothing of what still runs."""
