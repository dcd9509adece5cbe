"""What every engine can do: start wanted services, say what runs, show logs, stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

START_SECONDS = 180  # as long as the engine says nothing else


class EngineError(Exception):
    """The engine did not do it; the text is one sentence for people."""


class EngineAway(EngineError):
    """The engine cannot be asked now, or cannot answer: nothing is known, try again."""


class EngineRefused(EngineError):
    """The engine answered that it will not do this; trying the same again is useless."""


class EngineWaits(EngineError):
    """What the service needs is not there now, a GPU maybe; the same may go well later."""


class ServiceState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True)
class ServiceSpec:
    """One service as it is wanted: the files of one model version, loaded by `replicas` processes."""

    service_id: str
    model_dir: Path
    replicas: int
    endpoint_name: str
    model_name: str
    model_version: int
    gpu_type: str = ""
    max_batch_size: int = 1
    """Rows that are joined to one call of the model; 1 joins none."""
    max_delay_ms: int = 0
    """How long a request waits at most for others to be joined with."""


@dataclass(frozen=True)
class Replica:
    """One process that holds the model. `id` is what its lines in the log are found by."""

    id: str
    state: ServiceState


@dataclass(frozen=True)
class Service:
    """One service as the engine sees it: `address` and `key` when it is ready, `reason` when it failed.

    `reason` of one that is starting may say what it is busy with. One that is `preparing` does not load the model
    yet: its packages are being installed, for example. From then on it has `start_seconds` to become ready. One that
    is `unplaced` has not begun, or, when it is ready, not all of its replicas have: nothing has room for them now, as its
    reason says.
    """

    service_id: str
    state: ServiceState
    address: str
    key: str
    reason: str
    replicas: Sequence[Replica] = ()
    preparing: bool = False
    unplaced: bool = False
    start_seconds: int = START_SECONDS

    @property
    def ready_replicas(self) -> int:
        """How many processes answer requests."""
        return sum(replica.state == ServiceState.READY for replica in self.replicas)


class Engine(Protocol):
    """Every call may raise EngineAway."""

    @property
    def reads_folders(self) -> bool:
        """Whether the model's files must lie in the spec's folder; else it fetches them itself."""
        ...

    @property
    def longest_preparation(self) -> timedelta | None:
        """How long a service may prepare in all; None where the engine itself ends what takes too long."""
        ...

    def apply(self, spec: ServiceSpec) -> Service:
        """Starts the service unless it runs already as wanted; EngineRefused or EngineWaits with the reason.

        A living service whose spec differs in `replicas` only gets more or fewer of them, without a restart.
        """
        ...

    def observe(self, service_id: str) -> Service | None:
        """The service, or None when the engine knows none of this id."""
        ...

    def services(self) -> Sequence[Service]:
        """All services that the engine knows, whoever wanted them."""
        ...

    def logs(self, service_id: str, tail: int, replica: str | None = None, search: str = "") -> Sequence[str]:
        """The last `tail` lines that the service's processes wrote, after it ended too as far as they are kept; none
        for an unknown service.

        With `replica`, only lines of that process; with `search`, only lines that hold this text, in any case.
        Raises Invalid, with the replicas that there are, for one that neither lives nor wrote what is kept.
        """
        ...

    def stop(self, service_id: str) -> None:
        """Begins to drain and end the service; an unknown one is ended already."""
        ...

    def gpu_types(self) -> Sequence[str]:
        """The kinds of GPU that it has now."""
        ...
