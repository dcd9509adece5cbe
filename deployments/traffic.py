"""What endpoints answered: requests, errors and latencies per version and over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from common import sql
from common.checks import check_whole
from deployments.choices import LATENCY_EDGES_MS, SLOT_SECONDS
from deployments.models import Deployment, DeploymentRevision, EndpointTraffic, ReplicaSample

SAMPLE_EVERY = timedelta(seconds=60)
KNOWN_FOR = (
    2 * SAMPLE_EVERY
)  # after a sample; longer without one, the endpoint was taken down or nobody looked
MOST_HOURS = 168
MOST_POINTS = 360
STEPS = (10, 30, 60, 120, 300, 600, 1800, 3600)
NO_BUCKETS = (0,) * (len(LATENCY_EDGES_MS) + 1)
SUMMED = ("requests", "refused", "unfit", "errors", "total_ms", "agreed", "differed")
COUNTED = """
    SELECT t.revision_id, shadow, extract(epoch FROM date_bin(%s, at, %s))::float8 AS slot,
           sum(requests)::int, sum(refused)::int, sum(unfit)::int, sum(errors)::int, sum(total_ms)::float8,
           sum(agreed)::int, sum(differed)::int, max(peak_in_flight), r.number, v.number
    FROM deployments_endpointtraffic t
    JOIN deployments_deploymentrevision r ON r.id = t.revision_id
    JOIN registry_modelversion v ON v.id = r.version_id
    WHERE t.deployment_id = %s AND at >= %s GROUP BY 1, 2, 3, r.number, v.number
"""
BUCKETS = """
    SELECT revision_id, shadow, extract(epoch FROM date_bin(%s, at, %s))::float8 AS slot, edge, sum(number)::int
    FROM deployments_endpointtraffic, unnest(buckets) WITH ORDINALITY AS b (number, edge)
    WHERE deployment_id = %s AND at >= %s AND number > 0 GROUP BY 1, 2, 3, 4
"""


@dataclass
class Counts:
    """Requests of some time. `refused` were the callers' mistakes (4xx), `errors` the endpoint's (5xx, time-outs).

    `unfit` are those of the refused that the model itself did not take; the rest never came to it.
    """

    requests: int = 0
    refused: int = 0
    unfit: int = 0
    errors: int = 0
    total_ms: float = 0.0
    agreed: int = 0
    differed: int = 0
    peak_in_flight: int = 0
    buckets: list[int] = field(default_factory=lambda: list(NO_BUCKETS))

    def add(self, other: Counts) -> None:
        """Counts the other's requests too."""
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.peak_in_flight = max(self.peak_in_flight, other.peak_in_flight)
        self.buckets = [mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]

    @property
    def error_rate(self) -> float:
        """The share of requests that the endpoint failed; 0 when there was none."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def let_in(self) -> int:
        """The requests that came to the model: all but those that the gateway refused."""
        return self.requests - self.refused + self.unfit

    @property
    def unfit_rate(self) -> float:
        """The share of those that the model did not take; 0 when there was none."""
        return self.unfit / self.let_in if self.let_in else 0.0

    @property
    def mean_ms(self) -> float | None:
        timed = sum(self.buckets)  # batches have no latency
        return self.total_ms / timed if timed else None

    @property
    def p50_ms(self) -> float | None:
        return self.percentile(50)

    @property
    def p95_ms(self) -> float | None:
        return self.percentile(95)

    @property
    def p99_ms(self) -> float | None:
        return self.percentile(99)

    def percentile(self, percent: float) -> float | None:
        """The latency that so many percent stay under, as exact as the histogram's edges; None without answers."""
        rank, seen = sum(self.buckets) * percent / 100, 0
        if not rank:
            return None
        for number, count in enumerate(self.buckets):
            if count and seen + count >= rank:
                low = LATENCY_EDGES_MS[number - 1] if number else 0.0
                high = LATENCY_EDGES_MS[min(number, len(LATENCY_EDGES_MS) - 1)]
                return low + (high - low) * (rank - seen) / count if high > low else high
            seen += count
        return float(LATENCY_EDGES_MS[-1])


@dataclass(frozen=True)
class RevisionTraffic:
    """What one revision answered; `shadow` when it got copies."""

    revision: int
    version: int
    shadow: bool
    counts: Counts


@dataclass(frozen=True)
class Point:
    """What an endpoint answered in one step of time."""

    at: datetime
    counts: Counts


@dataclass(frozen=True)
class ReplicaPoint:
    at: datetime
    wanted: int
    ready: int


@dataclass(frozen=True)
class EndpointMetrics:
    """An endpoint's traffic over the last `hours`, in steps of `step_seconds`; `uptime` is None when nothing is known."""

    hours: int
    step_seconds: int
    counts: Counts
    requests_per_second: float
    uptime: float | None
    revisions: Sequence[RevisionTraffic]
    series: Sequence[Point]
    replicas: Sequence[ReplicaPoint]


def metrics_of(deployment: Deployment, hours: int = 1, now: datetime | None = None) -> EndpointMetrics:
    """What the endpoint answered in the last hours, in all, by revision and over time."""
    check_whole("hours", hours, low=1, high=MOST_HOURS)
    now = now or timezone.now()
    since = now - timedelta(hours=hours)
    step = next((each for each in STEPS if hours * 3600 / each <= MOST_POINTS), STEPS[-1])
    whole, series = Counts(), dict[float, Counts]()
    revisions = dict[tuple[int, int, bool], Counts]()
    for slot in _slots(deployment, since, step):
        revisions.setdefault((slot.revision, slot.version, slot.shadow), Counts()).add(slot.counts)
        if not slot.shadow:
            whole.add(slot.counts)
            series.setdefault(slot.at, Counts()).add(slot.counts)
    samples = _samples(deployment, since)
    first = _first_answer(deployment, samples)
    return EndpointMetrics(
        hours=hours,
        step_seconds=step,
        counts=whole,
        requests_per_second=whole.requests / (hours * 3600),
        uptime=uptime(samples, max(since, first), now) if first else None,
        revisions=[
            RevisionTraffic(*key, revisions[key])
            for key in sorted(revisions, key=lambda key: (-key[0], key[2]))
        ],
        series=[Point(_moment(at), counts) for at, counts in sorted(series.items())],
        replicas=samples,
    )


@dataclass(frozen=True)
class _Slot:
    """What one revision answered in one step of time, which began `at` this second."""

    at: float
    revision: int
    version: int
    shadow: bool
    counts: Counts


def _slots(deployment: Deployment, since: datetime, step: int) -> Iterable[_Slot]:
    asked = [timedelta(seconds=step), _moment(0), deployment.pk, since]
    found = {
        row[:3]: _Slot(row[2], row[11], row[12], row[1], Counts(*row[3:11]))
        for row in sql.rows(COUNTED, asked)
    }
    for *key, edge, number in sql.rows(BUCKETS, asked):
        slot = found.get(tuple(key))
        if slot is not None and edge <= len(slot.counts.buckets):
            slot.counts.buckets[edge - 1] = number
    return found.values()


def _samples(deployment: Deployment, since: datetime) -> list[ReplicaPoint]:
    """All samples of the time, begun by the last one before it."""
    rows = ReplicaSample.objects.filter(deployment=deployment)
    before = rows.filter(at__lt=since).order_by("-at").values("at")[:1]
    found = rows.filter(at__gte=Coalesce(Subquery(before), Value(since))).order_by("at")
    return [ReplicaPoint(max(row.at, since), row.wanted, row.ready) for row in found]


def _first_answer(deployment: Deployment, samples: Sequence[ReplicaPoint]) -> datetime | None:
    """When the endpoint first had a replica that answers; None before."""
    if samples and samples[0].ready:
        return samples[0].at
    rows = ReplicaSample.objects.filter(deployment=deployment, ready__gt=0)
    return rows.order_by("at").values_list("at", flat=True).first()


def uptime(samples: Sequence[ReplicaPoint], since: datetime, until: datetime) -> float | None:
    """The share of the known time since `since` that something answered, sleeping included; None without any."""
    samples = [each for each in samples if each.at >= since]
    up = known = 0.0
    for sample, end in zip(samples, [*(each.at for each in samples[1:]), until], strict=True):
        seconds = (min(end, sample.at + KNOWN_FOR) - sample.at).total_seconds()
        known += seconds
        up += seconds if sample.ready or not sample.wanted else 0.0
    return up / known if known else None


def counts_since(revision: DeploymentRevision, since: datetime) -> Counts:
    """What one revision answered since the slot of this moment, copies left out."""
    first = _moment(since.timestamp() // SLOT_SECONDS * SLOT_SECONDS)
    rows = EndpointTraffic.objects.filter(revision=revision, shadow=False, at__gte=first)
    sums = rows.aggregate(**{name: Sum(name) for name in SUMMED})
    buckets = _added(rows.values_list("buckets", flat=True))
    return Counts(**{name: value or 0 for name, value in sums.items()}, buckets=buckets)


def _added(many: Iterable[Sequence[int]]) -> list[int]:
    found = list(NO_BUCKETS)
    for buckets in many:
        for number, count in enumerate(buckets[: len(found)]):
            found[number] += count
    return found


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
