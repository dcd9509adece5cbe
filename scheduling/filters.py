"""Filters of schedules and executions, for REST and pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django_filters
from django.db.models import Q

from common.filters import MomentFilter, NameFilter
from scheduling.choices import ExecutionState, Trigger
from scheduling.models import Schedule, ScheduleExecution
from tracking.queries import check_experiment

if TYPE_CHECKING:
    from django.db.models import QuerySet

YES, NO = "true", "false"


class ScheduleFilter(django_filters.FilterSet):
    """`search`: text in the name; `experiment`: its id or name; `paused` and `deleted`: true or false."""

    search = django_filters.CharFilter(field_name="name", lookup_expr="icontains", label="text in the name")
    experiment = NameFilter(check_experiment, method="by_experiment", label="an experiment's id or name")
    paused = django_filters.ChoiceFilter(
        choices=((YES, "paused"), (NO, "not paused")), method="by_pause", label="true or false"
    )
    deleted = django_filters.ChoiceFilter(
        choices=((YES, "deleted"), (NO, "not deleted")),
        method="by_deleted",
        label="true for deleted ones only",
    )

    class Meta:
        model = Schedule
        fields: tuple[str, ...] = ()

    def by_experiment(self, rows: QuerySet[Schedule], name: str, value: str) -> QuerySet[Schedule]:
        return rows.filter(Q(experiment__public_id=value) | Q(experiment__name=value))

    def by_pause(self, rows: QuerySet[Schedule], name: str, value: str) -> QuerySet[Schedule]:
        return rows.filter(paused_at__isnull=value == NO)

    def by_deleted(self, rows: QuerySet[Schedule], name: str, value: str) -> QuerySet[Schedule]:
        return rows.filter(deleted_at__isnull=value == NO)


class ExecutionFilter(django_filters.FilterSet):
    """`state`, `trigger`, and from when to when they were made."""

    state = django_filters.ChoiceFilter(choices=ExecutionState.choices)
    trigger = django_filters.ChoiceFilter(choices=Trigger.choices)
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = ScheduleExecution
        fields: tuple[str, ...] = ()
