"""What filters and orderings of runs may name, the same at every door."""

from __future__ import annotations

from django.db.models import Exists, F, FloatField, Func, Lookup, OuterRef, Q, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from common import keyed
from common.filtering import (
    Comparison,
    Meaning,
    Unfitting,
    column,
    lookup_of,
    moment,
    no_key,
    number_of,
    values_of,
    word,
)
from tracking.choices import RunStatus
from tracking.models import RunDataset, RunMetric, RunParam, RunTag


def dataset(field: str) -> Meaning:
    """`dataset = 'credit-2026'`: some dataset that the run used is so; != says that none is."""
    plain = column(f"dataset__{field}")

    def meaning(asked: Comparison) -> Q:
        no_key(asked)
        if asked.operator == "null":
            raise Unfitting(f"{asked.name} knows no IS NULL")
        links = RunDataset.objects.filter(run=OuterRef("pk")).order_by()
        equal = Comparison(asked.name, None, "=", asked.value, asked.at) if asked.operator == "!=" else asked
        found = Q(Exists(links.filter(plain(equal))))
        return ~found if asked.operator == "!=" else found

    return meaning


def seconds(since: F, until: Combinable) -> Func:
    """The seconds between two times; NULL where one of them is."""
    return Func(
        until,
        since,
        template="EXTRACT(EPOCH FROM %(expressions)s)::float8",
        arg_joiner=" - ",
        output_field=FloatField(),
    )


def duration(asked: Comparison) -> Q:
    """`duration > 60`: seconds; those of a run that goes on are counted until now, as its page does."""
    no_key(asked)
    if asked.operator == "null":
        raise Unfitting("duration knows no IS NULL: write ended_at is null")
    if "like" in asked.operator:
        raise Unfitting("duration is a number and knows no LIKE")
    wanted = [number_of(asked, each) for each in values_of(asked)]
    lookup, compared = ("in", wanted) if asked.operator == "in" else (lookup_of(asked), wanted[0])
    kind: type[Lookup] = FloatField().get_lookup(lookup)  # type: ignore[assignment]
    found = Q(kind(seconds(F("started_at"), Coalesce(F("ended_at"), Now())), compared))
    return ~found if asked.operator == "!=" else found


RUNS: dict[str, Meaning] = {
    "id": column("public_id"),
    "name": column("name"),
    "status": word("status", RunStatus.values),
    "experiment": column("experiment__name"),
    "experiment_id": column("experiment__public_id"),
    "author": column("created_by__username"),
    "notes": column("notes"),
    "error": column("error"),
    "code_version": column("code_version"),
    "parent": column("parent__public_id"),
    "started_at": moment("started_at"),
    "ended_at": moment("ended_at"),
    "duration": duration,
    "dataset": dataset("name"),
    "dataset_digest": dataset("digest"),
    "tags": keyed.texts(RunTag, "run"),
    "params": keyed.scalars(RunParam, "run"),
    "metrics": keyed.numbers(RunMetric, "run", "last"),
    "min": keyed.numbers(RunMetric, "run", "low"),
    "max": keyed.numbers(RunMetric, "run", "high"),
}
RUN_COLUMNS = {
    "started_at": "started_at",
    "name": "name",
    "status": "status",
    "experiment": "experiment__name",
    "created_by": "created_by__username",
}
DURATION = "duration"
METRIC_COLUMNS = {"metrics": "last", "min": "low", "max": "high"}


def duration_sort(*, descending: bool) -> Combinable:
    """The seconds that a run took; those that go on come last in either direction."""
    last = Value(float("-inf") if descending else float("inf"), FloatField())
    return Coalesce(seconds(F("started_at"), F("ended_at")), last)


def run_sort(text: str) -> Combinable | None:
    """What stands behind an ordering by `duration`, `metrics.<key>`, `min.<key>`, `max.<key>` or `params.<key>`."""
    name, _, key = text.lstrip("-").partition(".")
    descending = text.startswith("-")
    if text.lstrip("-") == DURATION:
        return duration_sort(descending=descending)
    if not key:
        return None
    if name in METRIC_COLUMNS:
        return keyed.sort_value(RunMetric, "run", key, descending=descending, value=METRIC_COLUMNS[name])
    if name == "params":
        return keyed.sort_scalar(RunParam, "run", key, descending=descending)
    return None
