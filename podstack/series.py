"""Calls that read metrics back, compare runs, and write tables for other programs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from podstack.calls import Calls, given
from podstack.config import API_PREFIX
from podstack.errors import ValidationError
from podstack.models import MetricHistory, RunComparison, RunMetricHistory
from podstack.values import texts

RECEIVED_AT_ONCE = 256 << 10
FORMATS = (".csv", ".parquet")


class SeriesCalls(Calls):
    """`run_id` is a run's id, `run-…`; `key` a metric."""

    def get_metric_history(
        self,
        run_id: str,
        key: str,
        from_step: int | None = None,
        to_step: int | None = None,
        points: int | None = None,
    ) -> MetricHistory:
        """All points of one metric, or those from `from_step` to `to_step`, both included.

        With `points` (2 to 10,000) the server keeps at most so many that draw the same line, each peak included.
        """
        asked = given(from_step=from_step, to_step=to_step, points=points)
        path = self.path("runs", run_id, "metrics", key)
        answer = self.http.call("GET", path, params=[(name, str(value)) for name, value in asked.items()])
        return MetricHistory.from_json(answer)

    def get_metric_histories(
        self,
        run_ids: Iterable[str],
        keys: Iterable[str],
        from_step: int | None = None,
        to_step: int | None = None,
        points: int = 500,
    ) -> list[RunMetricHistory]:
        """Each key of each run in one call, at most 100 series, thinned to `points` each.

        In the order of `run_ids`, then of `keys`; a run that lacks a key has an empty history there.
        """
        asked = given(from_step=from_step, to_step=to_step, points=points)
        params = [(name, str(value)) for name, value in asked.items()]
        params += [("run", run_id) for run_id in texts("run_ids", run_ids)]
        params += [("key", key) for key in texts("keys", keys)]
        answer = self.http.call("GET", self.path("metric-history"), params=params)
        return [RunMetricHistory.from_json(item) for item in answer["series"]]

    def compare_runs(self, run_ids: Iterable[str]) -> RunComparison:
        """Two to ten runs side by side: final metrics, parameters, tags, datasets, files by digest."""
        params = [("run", run_id) for run_id in texts("run_ids", run_ids)]
        return RunComparison.from_json(self.http.call("GET", self.path("runs-compare"), params=params))

    def export_metrics(self, run_id: str, path: str | os.PathLike[str], keys: Iterable[str] = ()) -> Path:
        """Writes all points of a run's metrics, or of `keys`, to a .csv or .parquet file; returns that.

        Columns: run_id, key, step, timestamp, value. The file is there whole or not at all.
        """
        asked = [("key", key) for key in texts("keys", keys)]
        return self._table(("runs", run_id, "metrics", "export"), Path(path), asked)

    def export_runs(
        self,
        path: str | os.PathLike[str],
        filter: str | None = None,
        experiment_id: str | None = None,
        order_by: str | None = None,
    ) -> Path:
        """Writes runs to a .csv or .parquet file, a row each with params.*, metrics.* and tags.*; returns that."""
        asked = given(filter=filter, experiment=experiment_id, ordering=order_by)
        return self._table(("runs-export",), Path(path), list(asked.items()))

    def _table(self, parts: tuple[object, ...], target: Path, params: list[tuple[str, str]]) -> Path:
        if target.suffix not in FORMATS or target.is_dir():
            raise ValidationError(
                f"{target} does not say which kind of table it is to be.",
                hint="Name a file that ends with .csv or .parquet.",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.parent / f".podstack-{uuid.uuid4().hex}"
        asked = [("format", target.suffix[1:]), *params]
        try:
            with (
                closing(
                    self.http.send(
                        "GET",
                        API_PREFIX + self.path(*parts),
                        params=asked,
                        headers={"Accept": "*/*"},
                        stream=True,
                    )
                ) as response,
                draft.open("xb") as file,
            ):
                for piece in response.iter_content(RECEIVED_AT_ONCE):
                    file.write(piece)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return target
