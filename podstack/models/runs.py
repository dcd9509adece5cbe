"""Experiments, runs and what they record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podstack.models.base import Answer, many, mapping, moment, numbers, parsed
from podstack.values import parse_numbers


@dataclass(frozen=True, kw_only=True)
class Experiment(Answer):
    """A named group of runs."""

    id: str = ""
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = parsed(tuple, ())
    created_at: datetime | None = moment()
    created_by: str | None = None
    archived_at: datetime | None = moment()
    run_count: int = 0
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Dataset(Answer):
    """Data that runs used. `context` says what one run used it for; the fields below it are the project's own."""

    name: str = ""
    path: str = ""
    description: str = ""
    digest: str = ""
    context: str = ""
    id: int = 0
    run_count: int = 0
    is_bad: bool = False
    bad_reason: str = ""
    bad_by: str | None = None
    bad_at: datetime | None = moment()
    created_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class RunInput(Answer):
    """A version that a run started from; `ref` is what it was asked for by."""

    model_name: str = ""
    version: int = 0
    ref: str = ""
    created_at: datetime | None = moment()


def _summary(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: MetricSummary.from_json(value) for key, value in data.items()}


@dataclass(frozen=True, kw_only=True)
class MetricSummary(Answer):
    """One metric's last, lowest and highest value, and how many points it has."""

    last: float | None = parsed(parse_numbers, None)
    last_step: int | None = None
    min: float | None = parsed(parse_numbers, None)
    max: float | None = parsed(parse_numbers, None)
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Run(Answer):
    """A run as the server keeps it; `metrics` holds each key's last value.

    `environment` is what the recording process saw: {"system", "packages", "git"}.
    """

    id: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    name: str = ""
    status: str = ""
    error: str = ""
    notes: str = ""
    params: Mapping[str, Any] = mapping()
    metrics: Mapping[str, float] = numbers()
    metric_summary: Mapping[str, MetricSummary] = field(default_factory=dict, metadata={"parse": _summary})
    tags: Mapping[str, str] = mapping()
    datasets: tuple[Dataset, ...] = many(Dataset)
    artifact_count: int = 0
    artifact_bytes: int = 0
    parent_run_id: str | None = None
    code_version: str = ""
    environment: Mapping[str, Any] = mapping()
    created_by: str | None = None
    started_at: datetime | None = moment()
    ended_at: datetime | None = moment()
    deleted_at: datetime | None = moment()
    duration_seconds: float | None = None
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Alert(Answer):
    """A condition on one metric of a run; `fired_at`, `fired_value`, `fired_step`: the first value that met it."""

    id: str = ""
    condition: str = ""
    metric: str = ""
    message: str = ""
    created_by: str | None = None
    created_at: datetime | None = moment()
    fired_at: datetime | None = moment()
    fired_value: float | None = parsed(parse_numbers, None)
    fired_step: int | None = None


@dataclass(frozen=True, kw_only=True)
class MetricHistory(Answer):
    """One metric's points: three tuples of equal length; `timestamps` are milliseconds since 1970, UTC.

    `total` counts the points of the range asked for; `thinned` says whether some of them were left out.
    """

    key: str = ""
    steps: tuple[int, ...] = parsed(tuple, ())
    values: tuple[float, ...] = parsed(parse_numbers, ())
    timestamps: tuple[int, ...] = parsed(tuple, ())
    total: int = 0
    thinned: bool = False


@dataclass(frozen=True, kw_only=True)
class RunMetricHistory(MetricHistory):
    """The same among those of several runs."""

    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class ArtifactFile(Answer):
    """One stored file: path with `/`, size in bytes, sha256 in hex."""

    path: str = ""
    size: int = 0
    sha256: str = ""
