"""Metrics and runs as tables for other programs: CSV as a stream, Parquet as a file."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from django.contrib.postgres.aggregates import BoolAnd
from django.db.models import BooleanField, Func, QuerySet

from common import sql
from common.checks import check_text, plain_number, shorten
from common.errors import Invalid, Missing
from common.tables import defused
from tracking.histories import KEY_LENGTH, Series, all_points
from tracking.models import Run, RunMetric, RunParam, RunTag

CSV, PARQUET = "csv", "parquet"
FORMATS = (CSV, PARQUET)
POINT_COLUMNS = ("run_id", "key", "step", "timestamp", "value")
RUN_COLUMNS = ("id", "name", "experiment", "status", "started_at", "ended_at")
MOST_COLUMNS = 16_384  # as many as a spreadsheet has
RUNS_AT_ONCE = 500
ROWS_PER_GROUP = 100_000
# PostgreSQL writes the CSV itself: no Python per point, and flat memory whatever the number.
POINTS_AS_CSV = """
    COPY (
        SELECT r.public_id AS run_id,
               CASE WHEN m.key ~ '^[=+@\\t\\r\\n\uff1d\uff0b\uff0d\uff20-]' THEN '''' || m.key ELSE m.key END AS key,
               p.step, p.timestamp, p.value
        FROM tracking_run r
        JOIN tracking_runmetric m ON m.run_id = r.id
        JOIN tracking_metricchunk c ON c.metric_id = m.id
        CROSS JOIN LATERAL unnest(c.steps, c.timestamps, c."values") AS p (step, timestamp, value)
        WHERE r.id = %s AND m.key = ANY(%s)
        ORDER BY m.key, p.step, p.timestamp, c.id
    ) TO STDOUT (FORMAT csv, HEADER)
"""


def check_format(value: object) -> str:
    """ "csv" or "parquet"; Invalid for another, and for Parquet where pyarrow is not installed."""
    if value not in FORMATS:
        what = "is missing" if value is None else f"is {shorten(value)}"
        raise Invalid.field("format", f"format {what}; it must be one of {', '.join(FORMATS)}.")
    if value == PARQUET:
        _arrow()
    return str(value)


def metrics_of(run: Run, keys: Sequence[str]) -> list[str]:
    """These metrics of the run, or all where none are named; Missing names one that it does not have."""
    for key in keys:
        check_text("key", key, max_length=KEY_LENGTH, required=True)
    known = list(RunMetric.objects.filter(run=run).order_by("key").values_list("key", flat=True))
    for key in keys:
        if key not in known:
            raise Missing(f"Run {run.public_id} has no metric {shorten(key)}.", code="metric_not_found")
    return [key for key in known if key in keys or not keys]


def metrics_as_csv(run: Run, keys: Sequence[str]) -> Iterator[bytes]:
    """All points of these metrics, by key, step and time, a row each, under a line of names."""
    return sql.copy_out(POINTS_AS_CSV, [run.pk, list(keys)])


def metrics_as_parquet(run: Run, keys: Sequence[str]) -> IO[bytes]:
    """The same as an open file that vanishes when it is closed; memory holds one series."""
    arrow = _arrow()
    types = (arrow.string(), arrow.string(), arrow.int64(), arrow.timestamp("ms", "UTC"), arrow.float64())
    schema = arrow.schema(list(zip(POINT_COLUMNS, types, strict=True)))
    tables = (_table_of(arrow, series, schema) for series in all_points(run, keys))
    return _parquet(arrow, schema, tables)


def _table_of(arrow: Any, series: Series, schema: Any) -> Any:
    count = len(series.steps)
    columns = [
        [series.run_id] * count,
        [series.key] * count,
        series.steps,
        list(map(int, series.timestamps)),
        series.numbers,
    ]
    arrays = [arrow.array(each, type=field.type) for each, field in zip(columns, schema, strict=True)]
    return arrow.Table.from_arrays(arrays, schema=schema)


@dataclass(frozen=True)
class RunColumns:
    """The keys that these runs have, each a column; `numeric` are the parameters that are numbers wherever they are."""

    params: Sequence[str]
    metrics: Sequence[str]
    tags: Sequence[str]
    numeric: frozenset[str]

    @property
    def names(self) -> list[str]:
        """All columns in their order."""
        return [
            *RUN_COLUMNS,
            *(f"params.{key}" for key in self.params),
            *(f"metrics.{key}" for key in self.metrics),
            *(f"tags.{key}" for key in self.tags),
        ]


class IsNumber(Func):
    """Whether a parameter is a number that a 64-bit float holds to the last digit; NULL for null."""

    template = (
        "CASE jsonb_typeof(%(expressions)s) WHEN 'null' THEN NULL "
        "WHEN 'number' THEN abs((%(expressions)s)::numeric) <= 9007199254740992 ELSE false END"
    )
    output_field = BooleanField()


def columns_of(runs: QuerySet[Run]) -> RunColumns:
    """The columns that a table of these runs has; Invalid where they are more than a spreadsheet can hold."""
    ids = runs.order_by().values("pk")
    params = RunParam.objects.filter(run__in=ids).order_by("key").values("key")
    params = params.annotate(number=BoolAnd(IsNumber("value")))
    numeric = dict(params.values_list("key", "number"))
    metrics, tags = (
        list(model.objects.filter(run__in=ids).order_by("key").values_list("key", flat=True).distinct())
        for model in (RunMetric, RunTag)
    )
    found = RunColumns(
        list(numeric), metrics, tags, frozenset(key for key, number in numeric.items() if number)
    )
    if len(found.names) > MOST_COLUMNS:
        raise Invalid(
            f"These runs have {len(found.names)} columns; a table has at most {MOST_COLUMNS}.",
            "Narrow the filters to runs that are more alike.",
            code="too_many_columns",
        )
    return found


def runs_as_csv(runs: QuerySet[Run], columns: RunColumns) -> Iterator[bytes]:
    """A row per run in the order of `runs`, under a line of names; memory holds 500 runs."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns.names)
    for group in _groups(_read(runs), RUNS_AT_ONCE):
        writer.writerows([_cell(value) for value in _values(run, columns)] for run in group)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def runs_as_parquet(runs: QuerySet[Run], columns: RunColumns) -> IO[bytes]:
    """The same as an open file that vanishes when it is closed."""
    arrow = _arrow()
    moment = arrow.timestamp("us", "UTC")
    types = [
        *(arrow.string() for _ in RUN_COLUMNS[:-2]),
        *(moment, moment),
        *(arrow.float64() if key in columns.numeric else arrow.string() for key in columns.params),
        *(arrow.float64() for _ in columns.metrics),
        *(arrow.string() for _ in columns.tags),
    ]
    schema = arrow.schema(list(zip(columns.names, types, strict=True)))

    def tables() -> Iterator[Any]:
        for group in _groups(_read(runs), RUNS_AT_ONCE):
            cells = zip(*(_values(run, columns) for run in group), strict=True)
            arrays = [
                _array(arrow, list(each), field.type) for each, field in zip(cells, schema, strict=True)
            ]
            yield arrow.Table.from_arrays(arrays, schema=schema)

    return _parquet(arrow, schema, tables())


def _read(runs: QuerySet[Run]) -> Iterator[Run]:
    details = runs.select_related("experiment").prefetch_related("params", "metrics", "tags")
    return details.iterator(chunk_size=RUNS_AT_ONCE)


def _values(run: Run, columns: RunColumns) -> list[Any]:
    """The cells of a run's row; None where it has no such key."""
    params = {row.key: row.value for row in run.params.all()}
    metrics = {row.key: row.last for row in run.metrics.all()}
    tags = {row.key: row.value for row in run.tags.all()}
    return [
        *(run.public_id, run.name, run.experiment.name, str(run.status), run.started_at, run.ended_at),
        *map(params.get, columns.params),
        *map(metrics.get, columns.metrics),
        *map(tags.get, columns.tags),
    ]


def _cell(value: Any) -> Any:
    """A value as CSV shows it: texts that look like a formula begin with an apostrophe."""
    if isinstance(value, str):
        return defused(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return plain_number(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _array(arrow: Any, cells: list[Any], kind: Any) -> Any:
    if kind == arrow.float64():
        return arrow.array([None if cell is None else float(cell) for cell in cells], type=kind)
    if kind == arrow.string():
        cells = [cell if cell is None or isinstance(cell, str) else str(_cell(cell)) for cell in cells]
    return arrow.array(cells, type=kind)


def _arrow() -> Any:
    """The module pyarrow; Invalid where it is not installed."""
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise Invalid.field(
            "format",
            "Parquet needs pyarrow, which is not installed on this server: format must be csv.",
            "Ask an operator to run pip install -r requirements/parquet.txt, or ask for format=csv.",
            code="parquet_unavailable",
        ) from error


def _parquet(arrow: Any, schema: Any, tables: Iterable[Any]) -> IO[bytes]:
    """Writes the tables into a nameless file, small ones joined to groups of rows, and winds it back."""
    file: IO[bytes] = TemporaryFile()  # noqa: SIM115  the answer closes it
    with arrow.parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(tables, ROWS_PER_GROUP, len):
            writer.write_table(arrow.concat_tables(group))
    file.seek(0)
    return file


def _groups(
    items: Iterable[Any], size: int, weight: Callable[[Any], int] = lambda _: 1
) -> Iterator[list[Any]]:
    """Lists of items that together weigh `size` or a little more; the last one less."""
    group, weighed = [], 0
    for item in items:
        group.append(item)
        weighed += weight(item)
        if weighed >= size:
            yield group
            group, weighed = [], 0
    if group:
        yield group
