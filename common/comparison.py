"""Things side by side: rows over all of them, those that differ first. Models' versions and runs alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.directions import best_of, direction_of
from common.errors import Invalid

MOST_COMPARED = 10


def check_chosen(chosen: Sequence[str], noun: str) -> None:
    """Says to who opens a page that compares how many of these there are to be, and where they are chosen."""
    count = len(set(chosen))
    if not 2 <= count <= MOST_COMPARED:
        raise Invalid(
            f"{count} {noun}{' is' if count == 1 else 's are'} chosen; 2 to {MOST_COMPARED} are compared.",
            "Check them in the list, then press Compare.",
        )


@dataclass(frozen=True)
class Row:
    """One key over all that is compared; None where one lacks it."""

    key: str
    values: tuple[Any, ...]
    differs: bool


@dataclass(frozen=True)
class MetricRow(Row):
    """A metric over all that is compared, and each one's difference to the first."""

    differences: tuple[float | None, ...]
    direction: str
    best: int | None

    @property
    def cells(self) -> list[tuple[Any, float | None]]:
        """Each value with its difference."""
        return list(zip(self.values, self.differences, strict=True))


@dataclass(frozen=True)
class FileRow:
    """One path over all that is compared: digests, None where one lacks it."""

    path: str
    sha256: tuple[str | None, ...]
    sizes: tuple[int | None, ...]
    changes: tuple[str, ...]  # to the first: same, added, removed or changed

    @property
    def differs(self) -> bool:
        return set(self.changes) != {"same"}

    @property
    def words(self) -> list[str]:
        """What each one's column says."""
        pairs = zip(self.sha256, self.changes, strict=True)
        return ["–" if sha256 is None and change == "same" else change for sha256, change in pairs]


@dataclass(frozen=True)
class Heading:
    """What stands above a column: a short name, the whole one, and the page that it leads to."""

    name: str
    title: str
    link: str


def chart_data(
    headings: Sequence[Heading],
    metrics: Sequence[MetricRow],
    params: Sequence[Row],
    curves: Mapping[str, Any],
) -> dict[str, Any]:
    """What the charts of a comparison draw: {"items", "axes" with a number or null per item, "curves"}.

    Parameters count where each is a number or missing.
    """
    axes = [{"key": row.key, "values": _plain(row.values), "kind": "metric"} for row in metrics]
    axes += [
        {"key": row.key, "values": _plain(row.values), "kind": "parameter"}
        for row in params
        if all(value is None or _is_number(value) for value in row.values)
    ]
    items = [{"name": each.name, "link": each.link} for each in headings]
    return {"items": items, "axes": axes, "curves": curves}


def _plain(values: Sequence[Any]) -> list[float | None]:
    return [None if value is None or not math.isfinite(float(value)) else float(value) for value in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def metric_rows(columns: Sequence[Mapping[str, float]]) -> tuple[MetricRow, ...]:
    """A row for each metric, with its differences to the first and which value is better."""
    return tuple(
        MetricRow(
            r.key,
            r.values,
            r.differs,
            _differences(r.values),
            direction_of(r.key),
            best_of(r.key, list(r.values)),
        )
        for r in rows_of(columns)
    )


def file_rows(columns: Sequence[Mapping[str, tuple[str, int]]]) -> list[FileRow]:
    """A row for each path; a column holds path -> (sha256, size in bytes)."""
    found = [_file_row(path, columns) for path in sorted({path for column in columns for path in column})]
    return sorted(found, key=lambda row: not row.differs)


def _file_row(path: str, columns: Sequence[Mapping[str, tuple[str, int]]]) -> FileRow:
    cells = [column.get(path) for column in columns]
    first = cells[0]
    return FileRow(
        path,
        tuple(cell[0] if cell else None for cell in cells),
        tuple(cell[1] if cell else None for cell in cells),
        tuple(_change(first, cell) for cell in cells),
    )


def _change(first: tuple[str, int] | None, cell: tuple[str, int] | None) -> str:
    if first == cell:
        return "same"
    if first is None:
        return "added"
    return "removed" if cell is None else "changed"


def rows_of(columns: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    """A row for each key of any column, those that differ first."""
    keys = sorted({key for column in columns for key in column})
    rows = [
        Row(key, values, any(v != values[0] for v in values))
        for key in keys
        if (values := _values(columns, key))
    ]
    return tuple(sorted(rows, key=lambda row: not row.differs))


def _values(columns: Sequence[Mapping[str, Any]], key: str) -> tuple[Any, ...]:
    return tuple(column.get(key) for column in columns)


def _differences(values: tuple[Any, ...]) -> tuple[float | None, ...]:
    first = values[0]
    if first is None:
        return tuple(None for _ in values)
    return tuple(None if v is None or not math.isfinite(v - first) else v - first for v in values)
