"""What every engine can do: start wanted services, say what runs, show logs, stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class EngineError(Exception):
    """The engine did not do it; the text is one sentence for people."""


class EngineAway(EngineError):
    """The engine cannot be asked now, or cannot answer: nothing is known, try again."""


class EngineRefused(EngineError):
    """The engine answered that it will not do this; trying the same again is useless."""


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


@dataclass(frozen=True)
class Service:
    """One service as the engine sees it: `address` and `key` when it is ready, `reason` when it failed."""

    service_id: str
    state: ServiceState
    address: str
    key: str
    reason: str


class Engine(Protocol):
    """Every call may raise EngineAway."""

    def apply(self, spec: ServiceSpec) -> Service:
        """Starts the service unless it runs already as wanted; EngineRefused with the reason."""
        ...

    def observe(self, service_id: str) -> Service | None:
        """The service, or None when the engine knows none of this id."""
        ...

    def services(self) -> Sequence[Service]:
        """All services that the engine knows, whoever wanted them."""
        ...

    def logs(self, service_id: str, tail: int) -> Sequence[str]:
        """The last `tail` lines that the service's processes wrote; none for an unknown service."""
        ...

    def stop(self, service_id: str) -> None:
        """Begins to drain and end the service; an unknown one is ended already."""
        ...
