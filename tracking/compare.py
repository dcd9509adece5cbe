"""Runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.models import Project
from common.comparison import MOST_COMPARED, FileRow, MetricRow, Row, file_rows, metric_rows, rows_of
from common.errors import Invalid
from tracking.models import Run, RunFile
from tracking.queries import find_run

MOST_FILES = 1000


@dataclass(frozen=True)
class RunComparison:
    """Runs in the order asked for; rows that differ come first. Metrics are final values, `datasets` digests by name."""

    runs: tuple[Run, ...]
    metrics: tuple[MetricRow, ...]
    params: tuple[Row, ...]
    tags: tuple[Row, ...]
    datasets: tuple[Row, ...]
    files: tuple[FileRow, ...]
    files_left_out: int


def compare_runs(project: Project, run_ids: Sequence[str]) -> RunComparison:
    """Two to ten different runs of the project."""
    wanted = list(dict.fromkeys(run_ids))
    if not 2 <= len(wanted) <= MOST_COMPARED:
        raise Invalid.field("run", f"run names {len(wanted)}; name 2 to {MOST_COMPARED} different ones.")
    rows = Run.objects.alive().filter(
        project=project, public_id__in=[run for run in wanted if "\0" not in run]
    )
    known = {run.public_id: run for run in rows.with_summary().prefetch_related("dataset_links__dataset")}
    runs = [known.get(run_id) or find_run(project, run_id) for run_id in wanted]
    files = _file_rows(runs)
    return RunComparison(
        runs=tuple(runs),
        metrics=metric_rows([{m.key: m.last for m in run.metrics.all()} for run in runs]),
        params=rows_of([{p.key: p.value for p in run.params.all()} for run in runs]),
        tags=rows_of([{t.key: t.value for t in run.tags.all()} for run in runs]),
        datasets=rows_of([_datasets(run) for run in runs]),
        files=tuple(files[:MOST_FILES]),
        files_left_out=max(0, len(files) - MOST_FILES),
    )


def _datasets(run: Run) -> dict[str, str]:
    """name -> digest, or path where there is no digest."""
    links = [link.dataset for link in run.dataset_links.all()]
    return {dataset.name: dataset.digest or dataset.path for dataset in links}


def _file_rows(runs: Sequence[Run]) -> list[FileRow]:
    columns: dict[int, dict[str, tuple[str, int]]] = {run.pk: {} for run in runs}
    rows = RunFile.objects.filter(run__in=runs)
    for run_id, path, sha256, size in rows.values_list("run_id", "path", "blob__sha256", "blob__size"):
        columns[run_id][path] = (sha256, size)
    return file_rows([columns[run.pk] for run in runs])
