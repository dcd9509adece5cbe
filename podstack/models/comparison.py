"""Versions and runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from podstack.models.base import Answer, many, parsed
from podstack.models.registry import ModelVersion
from podstack.models.runs import Run
from podstack.values import parse_numbers


@dataclass(frozen=True, kw_only=True)
class ComparedRow(Answer):
    """One parameter or tag over all compared versions, None where a version lacks it."""

    key: str = ""
    values: tuple[Any, ...] = parsed(tuple, ())
    differs: bool = False


@dataclass(frozen=True, kw_only=True)
class ComparedMetric(ComparedRow):
    """One metric over all compared versions, and each value's distance to the first version's."""

    values: tuple[float | None, ...] = parsed(parse_numbers, ())
    differences: tuple[float | None, ...] = parsed(parse_numbers, ())
    direction: str = "unknown"
    best: int | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedFile(Answer):
    """One path over all compared versions. `changes`, to the first version: same, added, removed or changed."""

    path: str = ""
    sha256: tuple[str | None, ...] = parsed(tuple, ())
    sizes: tuple[int | None, ...] = parsed(tuple, ())
    changes: tuple[str, ...] = parsed(tuple, ())
    differs: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison(Answer):
    """Versions side by side, in the order asked for; rows that differ come first. `datasets`: digests by name."""

    versions: tuple[ModelVersion, ...] = many(ModelVersion)
    metrics: tuple[ComparedMetric, ...] = many(ComparedMetric)
    validation_metrics: tuple[ComparedMetric, ...] = many(ComparedMetric)
    params: tuple[ComparedRow, ...] = many(ComparedRow)
    tags: tuple[ComparedRow, ...] = many(ComparedRow)
    datasets: tuple[ComparedRow, ...] = many(ComparedRow)
    files: tuple[ComparedFile, ...] = many(ComparedFile)
    files_left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class RunComparison(Answer):
    """Runs side by side, in the order asked for; rows that differ come first. Metrics are final values."""

    runs: tuple[Run, ...] = many(Run)
    metrics: tuple[ComparedMetric, ...] = many(ComparedMetric)
    params: tuple[ComparedRow, ...] = many(ComparedRow)
    tags: tuple[ComparedRow, ...] = many(ComparedRow)
    datasets: tuple[ComparedRow, ...] = many(ComparedRow)
    files: tuple[ComparedFile, ...] = many(ComparedFile)
    files_left_out: int = 0
