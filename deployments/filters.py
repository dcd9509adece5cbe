"""Filters of endpoints, for REST and pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django_filters
from django.conf import settings
from django.db.models import Q

from common.filters import NameFilter
from deployments.choices import EndpointState, EngineName
from deployments.models import Deployment
from registry.queries import check_model

if TYPE_CHECKING:
    from django.db.models import QuerySet


class DeploymentFilter(django_filters.FilterSet):
    """`search`: text in endpoint, model or description; `model`: its name; `state`; `follows`: the alias; `engine`."""

    search = django_filters.CharFilter(method="by_text", label="text in endpoint, model or description")
    model = NameFilter(check_model, field_name="model__name", label="model name")
    state = django_filters.ChoiceFilter(choices=EndpointState.choices)
    follows = django_filters.CharFilter(label="alias that is followed")
    engine = django_filters.ChoiceFilter(choices=EngineName.choices, method="by_engine")

    class Meta:
        model = Deployment
        fields: tuple[str, ...] = ()

    def by_text(self, rows: QuerySet[Deployment], name: str, value: str) -> QuerySet[Deployment]:
        texts = Q(endpoint_name__icontains=value) | Q(model__name__icontains=value)
        return rows.filter(texts | Q(description__icontains=value))

    def by_engine(self, rows: QuerySet[Deployment], name: str, value: str) -> QuerySet[Deployment]:
        # One that names no engine runs on the platform's default.
        named = Q(engine=value)
        return rows.filter(named | Q(engine="") if value == settings.SERVING_ENGINE else named)
