"""Endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from podstack.errors import DeploymentFailed
from podstack.models.base import Answer, many, mapping, moment, parsed
from podstack.waiting import settled

if TYPE_CHECKING:
    from podstack.deployments import DeploymentCalls

AT_REST = ("Active", "Asleep")
OVER = frozenset({"Failed", "Inactive", "Undeploying"})


@dataclass(frozen=True, kw_only=True)
class Shadow(Answer):
    """The revision that gets copies of the requests."""

    revision: int = 0
    version: int = 0
    state: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DeploymentRevision(Answer):
    """One combination of version and settings that was asked for."""

    revision: int = 0
    version: int = 0
    state: str = ""
    reason: str = ""
    is_shadow: bool = False
    gpu_type: str = ""
    min_replicas: int = 1
    max_replicas: int = 1
    rollout: Mapping[str, Any] = mapping()
    created_by: str | None = None
    created_at: datetime | None = moment()
    active_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class DeploymentEvent(Answer):
    """What happened to an endpoint, one sentence."""

    at: datetime | None = moment()
    state: str = ""
    message: str = ""
    revision: int | None = None


@dataclass(frozen=True, kw_only=True)
class Traffic(Answer):
    """Requests of some time; `refused` were answered 4xx, `errors` 5xx or not at all. None: no answers.

    `unfit` are those of the refused that the model itself did not take, such as rows of other columns.
    """

    requests: int = 0
    refused: int = 0
    unfit: int = 0
    errors: int = 0
    error_rate: float = 0.0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class RevisionTraffic(Answer):
    """What one revision answered; of a shadow's copies, `agreed` and `differed` from what was returned."""

    revision: int = 0
    version: int = 0
    shadow: bool = False
    counts: Traffic = parsed(Traffic.from_json, Traffic())
    agreed: int = 0
    differed: int = 0


@dataclass(frozen=True, kw_only=True)
class TrafficPoint(Answer):
    """What an endpoint answered in one step of time."""

    at: datetime | None = moment()
    counts: Traffic = parsed(Traffic.from_json, Traffic())


@dataclass(frozen=True, kw_only=True)
class ReplicaPoint(Answer):
    """How many replicas an endpoint was to have, and had."""

    at: datetime | None = moment()
    wanted: int = 0
    ready: int = 0


@dataclass(frozen=True, kw_only=True)
class DeploymentMetrics(Answer):
    """An endpoint's traffic; `uptime` is the share of the time that it answered, None while nothing is known."""

    hours: int = 0
    step_seconds: int = 0
    requests_per_second: float = 0.0
    uptime: float | None = None
    counts: Traffic = parsed(Traffic.from_json, Traffic())
    revisions: tuple[RevisionTraffic, ...] = many(RevisionTraffic)
    series: tuple[TrafficPoint, ...] = many(TrafficPoint)
    replicas: tuple[ReplicaPoint, ...] = many(ReplicaPoint)


@dataclass(frozen=True, kw_only=True)
class GpuType(Answer):
    """A GPU type; `is_there` tells whether the engine has one now, None when it cannot be asked."""

    name: str = ""
    is_there: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Deployment(Answer):
    """An endpoint as it was when it was asked for; `refresh()` asks again.

    `version` is the one wanted, `serving_version` the one that answers now (None: none does).
    """

    endpoint_name: str = ""
    model_name: str = ""
    version: int = 0
    serving_version: int | None = None
    gpu_type: str = ""
    min_replicas: int = 1
    max_replicas: int = 1
    idle_seconds: int = 0
    max_batch_size: int = 1
    max_delay_ms: int = 0
    rollout: Mapping[str, Any] = mapping()
    canary_percent: int = 0
    follows: str = ""
    engine: str = ""
    rate_limit: int | None = None
    timeout_seconds: int = 60
    max_body_bytes: int | None = None
    replicas: int = 0
    ready_replicas: int = 0
    shadow: Shadow | None = parsed(Shadow.from_json, None)
    description: str = ""
    state: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = parsed(tuple, ())
    endpoint_url: str = ""
    revision: int = 0
    created_by: str | None = None
    created_at: datetime | None = moment()
    updated_at: datetime | None = moment()
    url: str = ""
    calls: DeploymentCalls = field(repr=False, compare=False)

    def refresh(self) -> Deployment:
        """The endpoint as it is now."""
        return self.calls.get_deployment(self.endpoint_name)

    def wait(self, timeout: float = 120) -> Deployment:
        """Returns the endpoint once it is Active (a canary: once it has all traffic), or asleep.

        DeploymentFailed with the reason when it fails, is taken down, or is not Active after `timeout` s.
        """

        def answers(seen: Deployment) -> bool:
            if seen.state in AT_REST:
                return True
            seen._raise_if_over()
            return False

        current = settled(self.refresh(), self.refresh, answers, timeout)
        if current.state not in AT_REST:
            raise DeploymentFailed(
                f"{self.endpoint_name} is still {current.state} after {timeout:g} s.",
                hint=current.reason or "Wait again, or see the endpoint's events in the portal.",
                code="deployment_timeout",
            )
        return current

    def _raise_if_over(self) -> None:
        if self.state in OVER or (self.state == "Degraded" and self._is_given_up()):
            reason = self.reason or f"{self.endpoint_name} is {self.state}."
            raise DeploymentFailed(reason, hint="" if self.reason else "Deploy it again.")

    def _is_given_up(self) -> bool:
        """Whether what is wanted has failed; what is on its way may come yet, however what serves is meanwhile."""
        revisions = self.calls.list_deployment_revisions(self.endpoint_name)
        wanted = next((each for each in revisions if each.revision == self.revision), None)
        return wanted is not None and wanted.state == "Failed"

    def predict(self, rows: Any, *, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """One prediction per row; rows are lists of numbers, dictionaries by column, arrays or tables.

        `parameters` such as {"method": "predict_proba"} as for `MLOpsClient.predict`.
        """
        return self.calls.predict(self.endpoint_name, rows, parameters=parameters)
