"""Filters of models and versions, for REST and pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django_filters
from django.db.models import Exists, OuterRef, Q

from common.filters import LabelsFilter
from registry.choices import Stage, VersionStatus
from registry.models import ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from django.db.models import QuerySet


class ModelFilter(django_filters.FilterSet):
    """`search`: text in name or description; `stage`: some version stands there; `tag`: repeated means all."""

    search = django_filters.CharFilter(method="by_text", label="text in name or description")
    stage = django_filters.ChoiceFilter(
        choices=Stage.choices, method="by_stage", null_value="-", empty_label=None
    )
    tag = LabelsFilter(field_name="tags", label="label; repeated means all of them")

    class Meta:
        model = RegisteredModel
        fields: tuple[str, ...] = ()

    def by_text(self, rows: QuerySet[RegisteredModel], name: str, value: str) -> QuerySet[RegisteredModel]:
        return rows.filter(Q(name__icontains=value) | Q(description__icontains=value))

    def by_stage(self, rows: QuerySet[RegisteredModel], name: str, value: str) -> QuerySet[RegisteredModel]:
        staged = ModelVersion.objects.filter(model=OuterRef("pk"), stage=value, deleted_at=None)
        return rows.filter(Exists(staged))


class VersionFilter(django_filters.FilterSet):
    stage = django_filters.ChoiceFilter(choices=Stage.choices, null_value="-", empty_label=None)
    status = django_filters.ChoiceFilter(choices=VersionStatus.choices)

    class Meta:
        model = ModelVersion
        fields = ("stage", "status")
