"""What filters and orderings of models and versions may name, the same at every door."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable, RawSQL

from accounts.models import Project
from common import keyed
from common.filtering import (
    Comparison,
    Meaning,
    Unfitting,
    column,
    moment,
    no_key,
    text_of,
    truth,
    values_of,
    whole,
    word,
)
from registry import holds
from registry.choices import MetricKind, Relation, Stage, VersionStatus
from registry.models import Alias, ModelVersion, VersionMetric, VersionParam, VersionTag

TRAINING, VALIDATION = {"kind": MetricKind.TRAINING}, {"kind": MetricKind.VALIDATION}


def label(path: str) -> Meaning:
    """`tag = 'nlp'` on a column of labels: = and IN ask for one that is so, != for none."""

    def meaning(asked: Comparison) -> Q:
        no_key(asked)
        if asked.operator not in ("=", "!=", "in"):
            raise Unfitting(f"{asked.name} is compared by =, != or IN")
        found = Q(**{f"{path}__overlap": [text_of(asked, each) for each in values_of(asked)]})
        return ~found if asked.operator == "!=" else found

    return meaning


def among(rows: QuerySet[ModelVersion] | QuerySet[Alias], plain: Meaning, parent: str) -> Meaning:
    """`stage = 'Production'` of a model, `alias = 'best'`: some row beside it is so; != and IS NULL say that none is."""

    def meaning(asked: Comparison) -> Q:
        no_key(asked)
        beside = rows.filter(**{parent: OuterRef("pk")}).order_by()
        if asked.operator == "null":
            return ~Q(Exists(beside))
        equal = Comparison(asked.name, None, "=", asked.value, asked.at) if asked.operator == "!=" else asked
        found = Q(Exists(beside.filter(plain(equal))))
        return ~found if asked.operator == "!=" else found

    return meaning


def live_endpoint(asked: Comparison) -> Q:
    """`live_endpoint = true`: an endpoint that is not stopped has a version of the model."""
    no_key(asked)
    if asked.operator != "=" or not isinstance(asked.value, bool):
        raise Unfitting("live_endpoint is compared as live_endpoint = true or live_endpoint = false")
    found = has_live_endpoint()
    return found if asked.value else ~found


def has_live_endpoint() -> Q:
    """Models that an endpoint serves."""
    return Q(pk__in=RawSQL(holds.with_endpoint(), []))  # noqa: S611  a constant of the code


MODELS: dict[str, Meaning] = {
    "name": column("name"),
    "description": column("description"),
    "tag": label("tags"),
    "author": column("created_by__username"),
    "created_at": moment("created_at"),
    "updated_at": moment("updated_at"),
    "versions": whole("version_count"),
    "latest": whole("latest_version__number"),
    "stage": among(ModelVersion.objects.filter(deleted_at=None), word("stage", Stage.values), "model"),
    "alias": among(Alias.objects.all(), column("name"), "model"),
    "live_endpoint": live_endpoint,
}
VERSIONS: dict[str, Meaning] = {
    "model": column("model__name"),
    "version": whole("number"),
    "stage": word("stage", Stage.values),
    "status": word("status", VersionStatus.values),
    "description": column("description"),
    "author": column("created_by__username"),
    "door": column("created_by_door"),
    "created_at": moment("created_at"),
    "updated_at": moment("updated_at"),
    "run": column("source_run__public_id"),
    "experiment": column("source_run__experiment__name"),
    "experiment_id": column("source_run__experiment__public_id"),
    "format": column("format"),
    "framework": column("framework"),
    "servable": truth("servable"),
    "size": whole("manifest__total_size"),
    "parent": column("parent__model__name"),
    "relation": word("relation", Relation.values),
    "alias": among(Alias.objects.all(), column("name"), "version"),
    "tags": keyed.texts(VersionTag, "version"),
    "params": keyed.scalars(VersionParam, "version"),
    "metrics": keyed.numbers(VersionMetric, "version", **TRAINING),
    "validation": keyed.numbers(VersionMetric, "version", **VALIDATION),
}
MODEL_COLUMNS = ("name", "created_at", "updated_at", "version_count")
VERSION_COLUMNS = {
    "version": "number",
    "number": "number",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "stage": "stage",
    "status": "status",
    "model": "model__name",
    "size": "manifest__total_size",
}


def versions_of(project: Project) -> QuerySet[ModelVersion]:
    """The versions of all models of the project."""
    return ModelVersion.objects.alive().filter(model__project=project)


def version_sort(text: str) -> Combinable | None:
    """The number behind an ordering by `metrics.<key>` or `validation.<key>`; None for any other."""
    name, _, key = text.lstrip("-").partition(".")
    kinds = {"metrics": TRAINING, "validation": VALIDATION}
    if not key or name not in kinds:
        return None
    return keyed.sort_value(VersionMetric, "version", key, descending=text.startswith("-"), **kinds[name])
