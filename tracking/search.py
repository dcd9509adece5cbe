"""What filters and orderings of runs may name, the same at every door."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q
from django.db.models.expressions import Combinable

from common import keyed
from common.filtering import Comparison, Meaning, Unfitting, column, moment, no_key
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


RUNS: dict[str, Meaning] = {
    "id": column("public_id"),
    "name": column("name"),
    "status": column("status", fold=True),
    "experiment": column("experiment__name"),
    "experiment_id": column("experiment__public_id"),
    "author": column("created_by__username"),
    "notes": column("notes"),
    "error": column("error"),
    "code_version": column("code_version"),
    "parent": column("parent__public_id"),
    "started_at": moment("started_at"),
    "ended_at": moment("ended_at"),
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
}
METRIC_COLUMNS = {"metrics": "last", "min": "low", "max": "high"}


def run_sort(text: str) -> Combinable | None:
    """The number behind an ordering by `metrics.<key>`, `min.<key>`, `max.<key>` or a number `params.<key>`."""
    name, _, key = text.lstrip("-").partition(".")
    descending = text.startswith("-")
    if not key:
        return None
    if name in METRIC_COLUMNS:
        return keyed.sort_value(RunMetric, "run", key, descending=descending, value=METRIC_COLUMNS[name])
    if name == "params":
        return keyed.sort_scalar(RunParam, "run", key, descending=descending)
    return None
