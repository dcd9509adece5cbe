"""Thinning a series: what must stay, whatever the points."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.thinning import kept, thin

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
ROUGH = st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf])
STEPS = st.integers(-(2**62), 2**62) | st.integers(0, 300)


@st.composite
def series(draw: st.DrawFn) -> tuple[list[int], list[float], list[int]]:
    """Steps in order, each perhaps several times, with values and times of any kind."""
    steps = sorted(draw(st.lists(STEPS, max_size=300)))
    exactly = {"min_size": len(steps), "max_size": len(steps)}
    values = draw(st.lists(FLOATS, **exactly) | st.lists(ROUGH, **exactly))
    times = draw(st.lists(st.integers(0, 2**45), **exactly))
    return steps, values, times


@given(series(), st.integers(2, 400))
def test_never_more_points_than_asked_for_and_in_their_order(whole, points) -> None:
    chosen = kept(whole[0], whole[1], points)
    assert len(chosen) <= points
    assert list(chosen) == sorted(set(chosen))
    assert all(0 <= i < len(whole[0]) for i in chosen)


@given(series(), st.integers(2, 400))
def test_the_first_and_the_last_point_stay(whole, points) -> None:
    chosen = kept(whole[0], whole[1], points)
    if whole[0]:
        assert (chosen[0], chosen[-1]) == (0, len(whole[0]) - 1)


@given(series(), st.integers(4, 400))
def test_the_lowest_and_the_highest_value_stay(whole, points) -> None:
    steps, values, _ = whole
    real = [value for value in values if not math.isnan(value)]
    left = [values[i] for i in kept(steps, values, points) if not math.isnan(values[i])]
    assert bool(real) == bool(left)
    if real:
        assert (min(left), max(left)) == (min(real), max(real))


@given(series(), st.integers(2, 400))
def test_a_series_that_is_short_enough_stays_as_it_is(whole, points) -> None:
    if len(whole[0]) <= points:
        steps, values, times = thin(*whole, points)
        assert (steps, times) == (whole[0], whole[2])
        assert list(map(repr, values)) == list(map(repr, whole[1]))


@given(series(), st.integers(4, 100))
def test_each_bucket_keeps_its_own_extremes_and_no_nan_beside_a_number(whole, points) -> None:
    """Checked point by point against the definition: bucket = steps of one of points // 4 equal ranges."""
    steps, values, _ = whole
    chosen = set(kept(steps, values, points))
    if len(steps) <= points:
        return
    width, count = steps[-1] - steps[0] + 1, points // 4
    buckets: dict[int, list[int]] = {}
    for i, step in enumerate(steps):
        buckets.setdefault((step - steps[0]) * count // width, []).append(i)
    for inside in buckets.values():
        real = [i for i in inside if not math.isnan(values[i])]
        left = [i for i in inside if i in chosen]
        assert left
        if real:
            found = [values[i] for i in left if not math.isnan(values[i])]
            assert (min(found), max(found)) == (min(values[i] for i in real), max(values[i] for i in real))
            ends = {0, len(steps) - 1}
            assert all(i in ends for i in left if math.isnan(values[i]))


def test_a_single_spike_among_a_million_points_stays() -> None:
    steps, values = list(range(1_000_000)), [0.5] * 1_000_000
    values[123_456], values[654_321], values[700_000] = 9.0, -math.inf, math.nan
    started = time.perf_counter()
    chosen = kept(steps, values, 500)
    assert time.perf_counter() - started < 10
    assert {0, 123_456, 654_321, 999_999} <= set(chosen)
    assert 700_000 not in chosen


@pytest.mark.parametrize("points", [2, 3])
def test_with_room_for_two_or_three_points_the_ends_stay_and_then_the_highest(points: int) -> None:
    steps, values, times = thin([0, 1, 2, 3], [1.0, math.nan, 7.0, 2.0], [10, 11, 12, 13], points)
    assert (steps, times) == (([0, 3], [10, 13]) if points == 2 else ([0, 2, 3], [10, 12, 13]))
    assert values == ([1.0, 2.0] if points == 2 else [1.0, 7.0, 2.0])


def test_steps_far_apart_and_all_alike() -> None:
    far = [-(2**62), *range(1000), 2**62]
    assert set(kept(far, [float(n % 7) for n in range(1002)], 100)) >= {0, 1001}
    assert len(kept([5] * 1000, [float(n) for n in range(1000)], 100)) == 2
