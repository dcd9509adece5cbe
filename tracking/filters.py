"""Filters of experiments and runs, for REST and pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django_filters
from django.db.models import Q

from common.filters import ConditionFilter, MomentFilter, NameFilter
from tracking.choices import RunStatus
from tracking.models import Experiment, Run
from tracking.queries import check_experiment, check_run
from tracking.search import RUNS

if TYPE_CHECKING:
    from django.db.models import QuerySet

YES, NO = "true", "false"


class ExperimentFilter(django_filters.FilterSet):
    search = django_filters.CharFilter(method="by_text", label="text in name or description")
    name = django_filters.CharFilter(label="exactly this name")
    archived = django_filters.ChoiceFilter(
        choices=((YES, "archived"), (NO, "not archived")),
        method="by_archived",
        label="true for archived ones only, false for the others only",
    )

    class Meta:
        model = Experiment
        fields: tuple[str, ...] = ()

    def by_text(self, rows: QuerySet[Experiment], name: str, value: str) -> QuerySet[Experiment]:
        return rows.filter(Q(name__icontains=value) | Q(description__icontains=value))

    def by_archived(self, rows: QuerySet[Experiment], name: str, value: str) -> QuerySet[Experiment]:
        return rows.filter(archived_at__isnull=value == NO)


class RunFilter(django_filters.FilterSet):
    search = django_filters.CharFilter(method="by_text", label="text in name, id or notes")
    experiment = NameFilter(check_experiment, method="by_experiment", label="an experiment's id or name")
    status = django_filters.ChoiceFilter(choices=RunStatus.choices)
    parent = NameFilter(check_run, field_name="parent__public_id", label="the id of the run they belong to")
    deleted = django_filters.ChoiceFilter(
        choices=((YES, "deleted"), (NO, "not deleted")),
        method="by_deleted",
        label="true for deleted ones only, which maintainers see",
    )
    author = django_filters.CharFilter(field_name="created_by__username", label="who started it")
    started_after = MomentFilter(field_name="started_at", lookup_expr="gte")
    started_before = MomentFilter(field_name="started_at", lookup_expr="lt")
    filter = ConditionFilter(RUNS)

    class Meta:
        model = Run
        fields: tuple[str, ...] = ()

    def by_text(self, rows: QuerySet[Run], name: str, value: str) -> QuerySet[Run]:
        return rows.filter(
            Q(name__icontains=value) | Q(public_id__icontains=value) | Q(notes__icontains=value)
        )

    def by_deleted(self, rows: QuerySet[Run], name: str, value: str) -> QuerySet[Run]:
        return rows.filter(deleted_at__isnull=value == NO)

    def by_experiment(self, rows: QuerySet[Run], name: str, value: str) -> QuerySet[Run]:
        return rows.filter(Q(experiment__public_id=value) | Q(experiment__name=value))
