"""Counts of what was asked, by revision and time, written to the database about once a second."""

from __future__ import annotations

import logging
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import time

from deployments.choices import LATENCY_EDGES_MS, SLOT_SECONDS
from gateway.database import Away, Database

log = logging.getLogger("gateway")

# Slots that are kept while the database is away: an hour of ten endpoints.
MOST_SLOTS = 3600
# A revision that was deleted meanwhile is left out, instead of holding up all others.
WRITE = """
    INSERT INTO deployments_endpointtraffic AS kept
        (deployment_id, revision_id, at, shadow, requests, refused, unfit, errors, total_ms, buckets,
         peaks, peak_in_flight, agreed, differed)
    SELECT r.deployment_id, r.id, %(at)s, %(shadow)s, %(requests)s, %(refused)s, %(unfit)s, %(errors)s,
           %(total_ms)s, %(buckets)s::int[], %(peaks)s::int[], %(peak)s, %(agreed)s, %(differed)s
    FROM deployments_deploymentrevision r WHERE r.id = %(revision)s
    ON CONFLICT (revision_id, at, shadow) DO UPDATE SET
        requests = kept.requests + excluded.requests,
        refused = kept.refused + excluded.refused,
        unfit = kept.unfit + excluded.unfit,
        errors = kept.errors + excluded.errors,
        total_ms = kept.total_ms + excluded.total_ms,
        buckets = (
            SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY n)
            FROM unnest(kept.buckets, excluded.buckets) WITH ORDINALITY AS pairs(a, b, n)
        ),
        peaks = (
            SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY n)
            FROM unnest(kept.peaks, excluded.peaks) WITH ORDINALITY AS pairs(a, b, n)
        ),
        peak_in_flight = (
            SELECT max(coalesce(a, 0) + coalesce(b, 0)) FROM unnest(kept.peaks, excluded.peaks) AS pairs(a, b)
        ),
        agreed = kept.agreed + excluded.agreed,
        differed = kept.differed + excluded.differed
"""


@dataclass(slots=True)
class Count:
    """What was counted since the last write."""

    requests: int = 0
    refused: int = 0
    unfit: int = 0
    errors: int = 0
    total_ms: float = 0.0
    agreed: int = 0
    differed: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_EDGES_MS) + 1))
    peaks: list[int] = field(default_factory=lambda: [0] * SLOT_SECONDS)

    def note(self, status: int, milliseconds: float | None, *, by_model: bool = True) -> None:
        """One answer with this status, the model's or the gateway's own; without a time it counts as no latency."""
        refused = 400 <= status < 500
        self.requests += 1
        self.refused += refused
        self.unfit += refused and by_model
        self.errors += status >= 500
        if milliseconds is not None:
            self.total_ms += milliseconds
            self.buckets[bisect_left(LATENCY_EDGES_MS, milliseconds)] += 1


@dataclass(frozen=True, slots=True)
class Slot:
    """A revision's ten seconds, of answers or of shadow copies."""

    revision_id: int
    at: int
    shadow: bool


@dataclass(slots=True)
class Load:
    """Requests of one revision that wait for their answer: now, at most in this second, and how much of that is counted.

    Other processes add their own peak of the same second in the database: so each tells a second's peak once, and what
    it grows by later.
    """

    second: int
    now: int = 0
    peak: int = 0
    told: int = 0


class Traffic:
    """All counts of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[Slot, Count] = {}
        self._loads: dict[int, Load] = {}

    def begin(self, revision_id: int) -> None:
        """A request is on its way to this revision."""
        load = self._load(revision_id)
        load.now += 1
        load.peak = max(load.peak, load.now)

    def end(self, revision_id: int) -> None:
        """It waits no more."""
        self._load(revision_id).now -= 1

    def note(self, revision_id: int, status: int, seconds: float | None, *, by_model: bool = True) -> None:
        """A request was answered with this status; without seconds, its time says nothing about the model."""
        milliseconds = None if seconds is None else seconds * 1000
        self.count(revision_id).note(status, milliseconds, by_model=by_model)

    def _load(self, revision_id: int) -> Load:
        """The load of this second; what the seconds before had is counted."""
        second = int(time())
        load = self._loads.get(revision_id)
        if load is None:
            load = self._loads[revision_id] = Load(second)
        if load.second < second - SLOT_SECONDS:  # the clock leapt, or this machine slept
            self._tell(revision_id, load)
            load.second, load.peak, load.told = second - SLOT_SECONDS, load.now, 0
        if load.second > second:  # it was set back: what is asked now belongs to no time to come
            self._tell(revision_id, load)
            load.second, load.peak, load.told = second, load.now, 0
        while load.second < second:
            self._tell(revision_id, load)
            load.second, load.peak, load.told = load.second + 1, load.now, 0
        return load

    def _tell(self, revision_id: int, load: Load) -> None:
        if load.peak > load.told:
            self._count_at(revision_id, load.second).peaks[load.second % SLOT_SECONDS] += (
                load.peak - load.told
            )
            load.told = load.peak

    def count(self, revision_id: int, *, shadow: bool = False) -> Count:
        """The count of this moment."""
        return self._count_at(revision_id, int(time()), shadow=shadow)

    def _count_at(self, revision_id: int, second: int, *, shadow: bool = False) -> Count:
        slot = Slot(revision_id, second - second % SLOT_SECONDS, shadow)
        found = self._counts.get(slot)
        if found is None:
            found = self._counts[slot] = Count()
        return found

    async def write(self) -> None:
        """Writes what was counted; what cannot be written now is kept for later."""
        for revision_id in list(self._loads):
            load = self._load(revision_id)
            self._tell(revision_id, load)
            if not load.peak:
                del self._loads[revision_id]
        counts, self._counts = self._counts, {}
        while counts:
            slot, count = counts.popitem()
            try:
                await self._database.rows(WRITE, _values(slot, count))
            except Away:
                counts[slot] = count
                self._take_back(counts)
                return

    def _take_back(self, counts: dict[Slot, Count]) -> None:
        for slot, count in counts.items():
            now = self._counts.get(slot)
            self._counts[slot] = count if now is None else _sum(count, now)
        if len(self._counts) > MOST_SLOTS:
            oldest = sorted(self._counts, key=lambda slot: slot.at)[: len(self._counts) - MOST_SLOTS]
            log.warning("The database is away for long: %s counts of traffic are lost.", len(oldest))
            for slot in oldest:
                del self._counts[slot]


def _values(slot: Slot, count: Count) -> dict[str, object]:
    return {
        "revision": slot.revision_id,
        "at": datetime.fromtimestamp(slot.at, UTC),
        "shadow": slot.shadow,
        "requests": count.requests,
        "refused": count.refused,
        "unfit": count.unfit,
        "errors": count.errors,
        "total_ms": count.total_ms,
        "buckets": count.buckets,
        "peaks": count.peaks,
        "peak": max(count.peaks),
        "agreed": count.agreed,
        "differed": count.differed,
    }


def _sum(one: Count, other: Count) -> Count:
    return Count(
        one.requests + other.requests,
        one.refused + other.refused,
        one.unfit + other.unfit,
        one.errors + other.errors,
        one.total_ms + other.total_ms,
        one.agreed + other.agreed,
        one.differed + other.differed,
        [a + b for a, b in zip(one.buckets, other.buckets, strict=True)],
        [a + b for a, b in zip(one.peaks, other.peaks, strict=True)],
    )
