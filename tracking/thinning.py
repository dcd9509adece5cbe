"""Long series drawn with few points: the M4 aggregation."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

FEWEST = 2
PER_BUCKET = 4


def thin(
    steps: Sequence[int], values: Sequence[float], timestamps: Sequence[int], points: int
) -> tuple[list[int], list[float], list[int]]:
    """At most `points` of these points, those that `kept` names: lists of equal length again."""
    chosen = kept(steps, values, points)
    return [steps[i] for i in chosen], [values[i] for i in chosen], [timestamps[i] for i in chosen]


def kept(steps: Sequence[int], values: Sequence[float], points: int) -> Sequence[int]:
    """The positions, in order, of at most `points` (2 or more) points that draw the same line as all of them.

    This is M4 (Jugel, Jerzak, Hackenbroich and Markl: "M4: A Visualization-Oriented Time Series Data
    Aggregation", PVLDB 7(10), 2014): the range of steps is cut into buckets of equal width, a quarter as many
    as points, and each keeps its first, last, lowest and highest point. A chart as many pixels wide as there
    are buckets shows the line of the whole series, each peak included.

    `steps` ascend; `values` are as many. The first and last point of all are always kept, and with 4 points or
    more the lowest and highest value too. An infinity is a peak like any other; a NaN stays only at the ends
    and, once, in a bucket that has nothing else. Where there are no more than `points` points, all stay.
    """
    count = len(steps)
    if count <= points:
        return range(count)
    if points < PER_BUCKET:
        return _few(values, points)
    found: set[int] = {0, count - 1}
    for start, end in _buckets(steps, points // PER_BUCKET):
        found.update(_of_bucket(values, start, end, count))
    return sorted(found)


def _few(values: Sequence[float], points: int) -> list[int]:
    """Both ends and, where three are wanted, the peak: no room for the rest."""
    last = len(values) - 1
    inside = [i for i in range(1, last) if not math.isnan(values[i])]
    peaks = [max(inside, key=values.__getitem__)] if inside and points > FEWEST else []
    return [0, *peaks, last]


def _buckets(steps: Sequence[int], count: int) -> Iterator[tuple[int, int]]:
    """Positions (start, end) of the points of each bucket that has any."""
    first, width, start = steps[0], steps[-1] - steps[0] + 1, 0
    for number in range(1, count + 1):
        # The first whole step of the next bucket: rounded up.
        end = bisect_left(steps, first - (-number * width // count), lo=start)
        if end > start:
            yield start, end
        start = end


def _of_bucket(values: Sequence[float], start: int, end: int, count: int) -> set[int]:
    """First, last, lowest and highest of one bucket, where it holds an end of the series, that in its place."""
    part = values[start:end]
    # The sum of a part says at the speed of C whether it can hold a NaN.
    if math.isnan(sum(part)):
        real = [i for i in range(start, end) if not math.isnan(values[i])]
        if not real:
            return set() if start == 0 or end == count else {start}
        low, high = min(real, key=values.__getitem__), max(real, key=values.__getitem__)
        first, last = real[0], real[-1]
    else:
        low, high = start + part.index(min(part)), start + part.index(max(part))
        first, last = start, end - 1
    return {0 if start == 0 else first, low, high, count - 1 if end == count else last}
