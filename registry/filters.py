"""Filters of models and versions, for REST and pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django_filters
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce

from common.filters import ConditionFilter, LabelsFilter, MomentFilter, NameFilter, containing
from registry.choices import Stage, VersionStatus
from registry.models import Alias, ModelVersion, RegisteredModel, VersionTag
from registry.search import MODELS, VERSIONS, has_live_endpoint
from tracking.queries import check_experiment, check_run

if TYPE_CHECKING:
    from django.db.models import QuerySet


class Dated(django_filters.FilterSet):
    """From a time on, and before one: `?created_after=2026-03-01&created_before=2026-04-01T00:00:00Z`."""

    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")
    updated_after = MomentFilter(field_name="updated_at", lookup_expr="gte")
    updated_before = MomentFilter(field_name="updated_at", lookup_expr="lt")


class ModelFilter(Dated):
    """`search`: text in name or description; `stage`: some version stands there; `tag`: repeated means all."""

    search = django_filters.CharFilter(method="by_text", label="text in name or description")
    stage = django_filters.ChoiceFilter(
        choices=Stage.choices, method="by_stage", null_value="-", empty_label=None
    )
    tag = LabelsFilter(field_name="tags", label="label; repeated means all of them")
    any_tag = LabelsFilter(
        field_name="tags", lookup_expr="overlap", label="label; repeated means any of them"
    )
    alias = django_filters.CharFilter(method="by_alias", label="it has this alias")
    author = django_filters.CharFilter(field_name="created_by__username", label="who registered it")
    live_endpoint = django_filters.ChoiceFilter(
        choices=(("true", "has one"), ("false", "has none")),
        method="by_endpoint",
        label="an endpoint serves it",
    )
    filter = ConditionFilter(MODELS)

    class Meta:
        model = RegisteredModel
        fields: tuple[str, ...] = ()

    def by_text(self, rows: QuerySet[RegisteredModel], name: str, value: str) -> QuerySet[RegisteredModel]:
        return containing(rows, Q(name__icontains=value) | Q(description__icontains=value))

    def by_stage(self, rows: QuerySet[RegisteredModel], name: str, value: str) -> QuerySet[RegisteredModel]:
        staged = Exists(ModelVersion.objects.filter(model=OuterRef("pk"), stage=value, deleted_at=None))
        # Few versions have left None: inside COALESCE PostgreSQL reads them once and looks each model up among them,
        # instead of looking each model's versions up.
        return rows.filter(staged if value == Stage.NONE else Coalesce(staged, False))

    def by_alias(self, rows: QuerySet[RegisteredModel], name: str, value: str) -> QuerySet[RegisteredModel]:
        return rows.filter(Exists(Alias.objects.filter(model=OuterRef("pk"), name=value)))

    def by_endpoint(
        self, rows: QuerySet[RegisteredModel], name: str, value: str
    ) -> QuerySet[RegisteredModel]:
        return rows.filter(has_live_endpoint()) if value == "true" else rows.exclude(has_live_endpoint())


class VersionFilter(Dated):
    """`tag`: an annotation's key, or key:value; repeated means all."""

    search = django_filters.CharFilter(field_name="description", lookup_expr="icontains")
    stage = django_filters.ChoiceFilter(choices=Stage.choices, null_value="-", empty_label=None)
    status = django_filters.ChoiceFilter(choices=VersionStatus.choices)
    alias = django_filters.CharFilter(method="by_alias", label="this alias points to it")
    author = django_filters.CharFilter(field_name="created_by__username", label="who made it")
    run = NameFilter(check_run, field_name="source_run__public_id", label="its source run")
    experiment = NameFilter(check_experiment, method="by_experiment", label="its experiment's id or name")
    tag = LabelsFilter(method="by_tag", label="an annotation: key or key:value; repeated means all of them")
    filter = ConditionFilter(VERSIONS)

    class Meta:
        model = ModelVersion
        fields = ("stage", "status")

    def by_alias(self, rows: QuerySet[ModelVersion], name: str, value: str) -> QuerySet[ModelVersion]:
        return rows.filter(Exists(Alias.objects.filter(version=OuterRef("pk"), name=value)))

    def by_experiment(self, rows: QuerySet[ModelVersion], name: str, value: str) -> QuerySet[ModelVersion]:
        return rows.filter(Q(source_run__experiment__public_id=value) | Q(source_run__experiment__name=value))

    def by_tag(self, rows: QuerySet[ModelVersion], name: str, values: list[str]) -> QuerySet[ModelVersion]:
        for each in values:
            key, colon, value = each.partition(":")
            tags = VersionTag.objects.filter(version=OuterRef("pk"), key=key)
            rows = rows.filter(Exists(tags.filter(value=value) if colon else tags))
        return rows
