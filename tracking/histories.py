"""Reading metric series back: whole, by range or thinned, with as little Python per point as can be.

PostgreSQL writes the numbers; they stay its text on their way through, but for steps, which are needed as
numbers to find the order.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from accounts.models import Project
from common import sql
from common.checks import check_text, shorten
from common.errors import Invalid, Missing
from tracking.models import Run
from tracking.queries import find_run
from tracking.thinning import kept

MOST_SERIES = 100
FEWEST_POINTS, MOST_POINTS = 2, 10_000
USUAL_POINTS = 500
KEY_LENGTH = 250
# A row per 256 chunks, in the order in which they were written: a series of single points is no flood of rows,
# and no text comes near the gigabyte that PostgreSQL allows.
CHUNKS = """
    SELECT run_id, key, string_agg(array_to_string(steps, ','), ',' ORDER BY id),
           string_agg(array_to_string("values", ','), ',' ORDER BY id),
           string_agg(array_to_string(timestamps, ','), ',' ORDER BY id)
    FROM (
        SELECT m.run_id, m.key, c.*, row_number() OVER (PARTITION BY c.metric_id ORDER BY c.id) / 256 AS part
        FROM tracking_runmetric m JOIN tracking_metricchunk c ON c.metric_id = m.id
        WHERE m.run_id = ANY(%s) AND m.key = ANY(%s)
    ) chunks
    GROUP BY run_id, key, metric_id, part ORDER BY metric_id, part
"""
NOT_FINITE = re.compile(r"-?Infinity|NaN")


@dataclass(frozen=True)
class Series:
    """One metric of one run in the order of its steps, points of one step in the order of their times.

    Three lists of equal length: whole numbers; 64-bit floats as text that `float` and (but for NaN and the
    infinities) JSON read, every digit kept; milliseconds since 1970 UTC as text. `total` counts the points of
    the range asked for, `thinned` says whether some of them were left out.
    """

    run_id: str
    key: str
    steps: Sequence[int] = ()
    values: Sequence[str] = ()
    timestamps: Sequence[str] = ()
    total: int = 0
    thinned: bool = False

    @property
    def numbers(self) -> list[float]:
        """The values as numbers."""
        return list(map(float, self.values))


@dataclass(frozen=True)
class Wanted:
    """The part of a series that is asked for: steps between two, both included, and at most so many points."""

    from_step: int | None = None
    to_step: int | None = None
    points: int | None = None


WHOLE = Wanted()


def metric_history(run: Run, key: str, wanted: Wanted = WHOLE) -> Series:
    """What is wanted of one metric; Missing where the run never logged it."""
    check_text("key", key, max_length=KEY_LENGTH)
    found = list(_read({run.pk: run.public_id}, [key], wanted))
    if found:
        return found[0]
    raise Missing(f"Run {run.public_id} has no metric {shorten(key)}.", code="metric_not_found")


def metric_histories(
    project: Project, run_ids: Iterable[str], keys: Iterable[str], wanted: Wanted
) -> Iterator[Series]:
    """Each key of each run, by run and then by key as asked for; an empty series where the run lacks the key.

    All points come by one statement; of thinned series, memory holds no more than one in full. Missing names the
    first run that is not there.
    """
    runs, names = list(dict.fromkeys(run_ids)), list(dict.fromkeys(keys))
    for field, texts, length in (("run", runs, 40), ("key", names, KEY_LENGTH)):
        if not texts:
            raise Invalid.field(field, f"{field} is missing; name at least one.")
        for text in texts:
            check_text(field, text, max_length=length, required=True)
    if len(runs) * len(names) > MOST_SERIES:
        raise Invalid.field(
            "key",
            f"{len(runs)} runs and {len(names)} keys are {len(runs) * len(names)} series; at most {MOST_SERIES} "
            "are read at once.",
            "Ask for fewer runs or keys at a time.",
        )
    known = _known_runs(project, runs)
    found = {(series.run_id, series.key): series for series in _read(known, names, wanted)}
    return (found.get((run, key)) or Series(run, key) for run in runs for key in names)


def all_points(run: Run, keys: Sequence[str]) -> Iterator[Series]:
    """Each of these metrics of a run in full, one in memory at a time, in the order in which they were begun."""
    return _read({run.pk: run.public_id}, keys, WHOLE)


def _known_runs(project: Project, run_ids: Sequence[str]) -> dict[int, str]:
    rows = Run.objects.alive().filter(project=project, public_id__in=run_ids)
    known = dict(rows.values_list("pk", "public_id"))
    for missing in (run_id for run_id in run_ids if run_id not in known.values()):
        find_run(project, missing)
    return known


def _read(runs: Mapping[int, str], keys: Sequence[str], wanted: Wanted) -> Iterator[Series]:
    rows = sql.stream(CHUNKS, [list(runs), list(keys)])
    for (run, key), parts in groupby(rows, key=itemgetter(0, 1)):
        texts = [part[2:] for part in parts]
        steps, values, times = (",".join(column).split(",") for column in zip(*texts, strict=True))
        yield _part(runs[run], key, list(map(int, steps)), values, times, wanted)


def _part(
    run_id: str, key: str, steps: list[int], values: list[str], times: list[str], wanted: Wanted
) -> Series:
    order = _order(steps, times)
    if order is not None:
        steps = [steps[i] for i in order]
        values = [values[i] for i in order]
        times = [times[i] for i in order]
    start = 0 if wanted.from_step is None else bisect_left(steps, wanted.from_step)
    end = len(steps) if wanted.to_step is None else bisect_right(steps, wanted.to_step)
    if (start, end) != (0, len(steps)):
        steps, values, times = steps[start:end], values[start:end], times[start:end]
    total = len(steps)
    if wanted.points is not None and total > wanted.points:
        chosen = kept(steps, list(map(float, values)), wanted.points)
        steps = [steps[i] for i in chosen]
        values = [values[i] for i in chosen]
        times = [times[i] for i in chosen]
    return Series(run_id, key, steps, values, times, total, len(steps) < total)


def _order(steps: list[int], times: list[str]) -> list[int] | None:
    """The positions by step, then time, then as they came; None where the points lie so already, as they mostly do."""
    if steps == sorted(steps) and len(set(steps)) == len(steps):
        return None
    return sorted(range(len(steps)), key=list(zip(steps, map(int, times), strict=True)).__getitem__)


def json_numbers(values: Sequence[str]) -> str:
    """Floats as a JSON list: "NaN", "Infinity" and "-Infinity" as text."""
    text = ",".join(values)
    if "N" in text or "I" in text:
        text = NOT_FINITE.sub(r'"\g<0>"', text)
    if ",-0," in f",{text},":
        text = ",".join("-0.0" if value == "-0" else value for value in text.split(","))
    return f"[{text}]"
