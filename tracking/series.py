"""Metric batches: checked as whole arrays, folded into what lists show of them, written by two statements."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from common import sql
from common.checks import check_number, check_text, check_whole, shorten
from common.errors import Conflict, Invalid

MAX_SERIES = 10_000
MOST_KEYS = 10_000  # of a run: lists of runs carry them all
MAX_POINTS = 100_000
LOWEST_STEP, HIGHEST_STEP = -(2**62), 2**62
LATEST = 253_402_300_799_999  # the last millisecond of the year 9999

# Counts and extremes add up; the last point is the one with the highest step and, among its like, the latest time.
# A key that is new to the run (no row of it is locked: xmax) comes back with the number of keys before the statement.
# Where no steps were given, "last_step" holds the number of points less one, and they follow the highest step so far.
UPSERT = """
    INSERT INTO tracking_runmetric AS old (run_id, key, last, last_step, last_at, low, high, count)
    SELECT %(run)s, key, last, last_step, to_timestamp(last_at / 1000.0), low, high, count
    FROM unnest(%(key)s::text[], %(last)s::float8[], %(last_step)s::bigint[], %(last_at)s::bigint[],
                %(low)s::float8[], %(high)s::float8[], %(count)s::bigint[])
         AS new (key, last, last_step, last_at, low, high, count)
    ON CONFLICT (run_id, key) DO UPDATE SET
        last = CASE WHEN {newer} THEN EXCLUDED.last ELSE old.last END,
        last_at = CASE WHEN {newer} THEN EXCLUDED.last_at ELSE old.last_at END,
        last_step = {last_step},
        low = LEAST(old.low, EXCLUDED.low),
        high = GREATEST(old.high, EXCLUDED.high),
        count = old.count + EXCLUDED.count
    RETURNING id, key, last_step,
        CASE WHEN xmax = 0 THEN (SELECT count(*) FROM tracking_runmetric WHERE run_id = %(run)s) END
"""
GIVEN_STEPS = UPSERT.format(
    newer="(EXCLUDED.last_step, EXCLUDED.last_at) >= (old.last_step, old.last_at)",
    last_step="GREATEST(old.last_step, EXCLUDED.last_step)",
)
FOLLOWING_STEPS = UPSERT.format(newer="true", last_step="old.last_step + EXCLUDED.count")
COPY_CHUNKS = 'COPY tracking_metricchunk (metric_id, steps, timestamps, "values") FROM STDIN'


@dataclass
class Series:
    """Points of one key, arrays of equal length; without steps they follow the last step that the key has."""

    key: str
    values: list[float] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    steps: list[int] | None = None


def check_series(series: object) -> list[Series]:
    """What a batch may hold: [{"key", "values", "steps"?, "timestamps"?}], at most 100,000 points; by key, merged."""
    if not isinstance(series, list | tuple):
        raise Invalid.field("series", f"series must be a list of series, not {shorten(series)}.")
    if len(series) > MAX_SERIES:
        raise Invalid.field(
            "series", f"series has {len(series)} entries; at most {MAX_SERIES} are allowed at once."
        )
    now = time.time_ns() // 1_000_000
    found = [_check_one(f"series.{index}", item, now) for index, item in enumerate(series)]
    count = sum(len(one.values) for one in found)
    if count > MAX_POINTS:
        raise Invalid.field(
            "series", f"series holds {count} points; at most {MAX_POINTS} are allowed at once."
        )
    return _merged(found)


def _check_one(name: str, item: object, now: int) -> Series:
    if not isinstance(item, Mapping):
        raise Invalid.field(name, f"{name} must be an object with key and values, not {shorten(item)}.")
    key = check_text(f"{name}.key", item.get("key"), max_length=250, required=True)
    values = _check_values(f"{name}.values", item.get("values"))
    steps, times = item.get("steps"), item.get("timestamps")
    return Series(
        key,
        values,
        [now] * len(values)
        if times is None
        else _check_whole_numbers(f"{name}.timestamps", times, len(values), 0, LATEST),
        None
        if steps is None
        else _check_whole_numbers(f"{name}.steps", steps, len(values), LOWEST_STEP, HIGHEST_STEP),
    )


def _check_values(name: str, values: object) -> list[float]:
    if not isinstance(values, list | tuple) or not values:
        raise Invalid.field(name, f"{name} must be a list of at least one number, not {shorten(values)}.")
    if set(map(type, values)) <= {float, int}:
        with suppress(OverflowError):
            return list(map(float, values))
    return [check_number(f"{name}.{index}", value) for index, value in enumerate(values)]


def _check_whole_numbers(name: str, numbers: object, length: int, low: int, high: int) -> list[int]:
    if not isinstance(numbers, list | tuple) or len(numbers) != length:
        count = f"{len(numbers)} entries" if isinstance(numbers, list | tuple) else shorten(numbers)
        raise Invalid.field(name, f"{name} has {count}; it must be a list as long as values, {length}.")
    if set(map(type, numbers)) != {int} or min(numbers) < low or max(numbers) > high:
        for index, number in enumerate(numbers):
            check_whole(f"{name}.{index}", number, low=low, high=high)
    return list(numbers)


def _merged(series: Iterable[Series]) -> list[Series]:
    """One series per key, in the order of the keys, so that batches lock rows in one order."""
    by_key: dict[str, Series] = {}
    for index, one in enumerate(series):
        known = by_key.setdefault(one.key, one)
        if known is one:
            continue
        if (known.steps is None) != (one.steps is None):
            raise Invalid.field(
                f"series.{index}.steps",
                f"series.{index} gives {shorten(one.key)} once with steps and once without.",
                "Give steps in both or in neither.",
            )
        known.values += one.values
        known.timestamps += one.timestamps
        if known.steps is not None:
            known.steps += one.steps or []
    return [by_key[key] for key in sorted(by_key)]


def write_series(run_id: int, series: Sequence[Series]) -> dict[str, Sequence[int]]:
    """Updates the summaries and stores the points, in the caller's transaction; answers the steps of each key."""
    written: list[tuple[int, Series, Sequence[int]]] = []
    for statement, group in (
        (GIVEN_STEPS, [one for one in series if one.steps is not None]),
        (FOLLOWING_STEPS, [one for one in series if one.steps is None]),
    ):
        if group:
            rows = _upsert(statement, run_id, group)
            written += [(rows[one.key][0], one, _steps_of(one, rows[one.key][1])) for one in group]
    sql.copy(
        COPY_CHUNKS,
        (
            f"{metric_id}\t{_array(steps)}\t{_array(one.timestamps)}\t{_array(one.values)}\n"
            for metric_id, one, steps in written
        ),
    )
    return {one.key: steps for _, one, steps in written}


def _steps_of(one: Series, last_step: int) -> Sequence[int]:
    return one.steps if one.steps is not None else range(last_step - len(one.values) + 1, last_step + 1)


def _upsert(statement: str, run_id: int, series: Sequence[Series]) -> dict[str, tuple[int, int]]:
    """key -> (the summary's id, its last step). Conflict where the run would have more than MOST_KEYS keys."""
    rows = [_summary(one) for one in series]
    columns: dict[str, Any] = {name: _array(row[name] for row in rows) for name in rows[0] if name != "key"}
    columns["key"] = [one.key for one in series]
    with connection.cursor() as cursor:
        cursor.execute(statement, {"run": run_id, **columns})
        found = cursor.fetchall()
    before = [count for *_, count in found if count is not None]
    if before and before[0] + len(before) > MOST_KEYS:
        raise Conflict(
            f"With these the run would have {before[0] + len(before)} metrics; at most {MOST_KEYS} are allowed.",
            "Log the rest as a file.",
            code="too_many_metrics",
        )
    return {key: (pk, last_step) for pk, key, last_step, _ in found}


def _summary(one: Series) -> dict[str, Any]:
    """What the batch alone says of its key. low and high are None where all values are NaN."""
    count = len(one.values)
    steps: Sequence[int] = range(count) if one.steps is None else one.steps
    last_step, last_at, last = max(zip(steps, one.timestamps, range(count), strict=True))
    real = [value for value in one.values if not math.isnan(value)]
    return {
        "key": one.key,
        "last": one.values[last],
        "last_step": last_step,
        "last_at": last_at,
        "low": min(real, default=None),
        "high": max(real, default=None),
        "count": count,
    }


def _array(numbers: Iterable[float | None]) -> str:
    """Numbers as PostgreSQL writes an array; it reads Python's nan and inf, and every digit of a float."""
    return "{" + ",".join(map(repr, numbers)).replace("None", "NULL") + "}"
