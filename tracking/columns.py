"""The columns of a list of runs: metrics and parameters, chosen in the address or the usual ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from common.heads import Head
from tracking.models import Run
from tracking.queries import common_metrics

USUAL_METRICS = 4
MOST_COLUMNS = 12
MOST_OFFERED = 200
KINDS = ("metrics", "params")


@dataclass(frozen=True)
class Column:
    """`metrics.accuracy` or `params.lr`."""

    kind: str
    key: str

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.key}"

    def of(self, run: Run) -> Any:
        """The run's value here, or None; its metrics and parameters were fetched with it."""
        rows: Iterable[Any] = run.metrics.all() if self.kind == "metrics" else run.params.all()
        found = next((row for row in rows if row.key == self.key), None)
        return found and (found.last if self.kind == "metrics" else found.value)

    def head(self, request: HttpRequest) -> Head:
        return Head.of(request, self.name, self.key)


def chosen_columns(asked: Sequence[str], runs: Sequence[Run]) -> list[Column]:
    """Those that the address names (`column=metrics.accuracy`), else the metrics that most of these runs have."""
    named = [Column(kind, key) for kind, _, key in (text.partition(".") for text in asked)]
    chosen = [column for column in dict.fromkeys(named) if column.kind in KINDS and column.key]
    logged = ([metric.key for metric in run.metrics.all()] for run in runs)
    usual = [Column("metrics", key) for key in common_metrics(logged, USUAL_METRICS)]
    return chosen[:MOST_COLUMNS] or usual


def offered_columns(runs: Sequence[Run], chosen: Sequence[Column]) -> list[Column]:
    """All that these runs logged, and what is chosen already."""
    metrics = {Column("metrics", metric.key) for run in runs for metric in run.metrics.all()}
    params = {Column("params", param.key) for run in runs for param in run.params.all()}
    found = sorted({*metrics, *params, *chosen}, key=lambda column: (column.kind, column.key))
    return found[:MOST_OFFERED]
