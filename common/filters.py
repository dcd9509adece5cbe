"""Filters that several lists share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet

from common.filtering import Meaning, conditions, in_utc

FEW = 500


def containing(rows: QuerySet[Any], condition: Q) -> QuerySet[Any]:
    """`rows` that meet a condition which a trigram index answers.

    PostgreSQL cannot know how many rows hold a text. Where it guesses many, it reads the whole list in order, row by
    row, for the few that there are: so the few are looked up first, and only where there are many is its guess right.
    """
    few = list(rows.filter(condition).order_by().values_list("pk", flat=True)[: FEW + 1])
    return rows.filter(pk__in=few) if len(few) <= FEW else rows.filter(condition)


class LabelsField(forms.Field):
    """Any number of labels: `?tag=a&tag=b`."""

    widget = forms.SelectMultiple

    def to_python(self, value: Any) -> list[str]:
        return [str(v) for v in value or [] if str(v)]


class MomentField(django_filters.fields.IsoDateTimeField):
    """An ISO date or time, in UTC."""

    def to_python(self, value: Any) -> datetime | None:
        moment: datetime | None = super().to_python(value)
        try:
            return None if moment is None else in_utc(moment)
        except OverflowError as error:
            raise forms.ValidationError("This is no date of the calendar.") from error


class MomentFilter(django_filters.IsoDateTimeFilter):
    """From or before a moment: `?since=2026-03-01T14:00:00Z`."""

    field_class = MomentField


class NameFilter(django_filters.CharFilter):
    """Rows of one thing, by its name. `check` raises Missing where the project has no such thing.

    The API asks it, as an empty list would hide a typo; a page shows that nothing was found.
    """

    def __init__(self, check: Callable[[Any, str], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check = check


class ConditionFilter(django_filters.Filter):
    """`?filter=` in the filter language, over the fields of one vocabulary."""

    field_class = forms.CharField

    def __init__(self, vocabulary: Mapping[str, Meaning], **kwargs: Any) -> None:
        super().__init__(label="an expression of the filter language", **kwargs)
        self.vocabulary = vocabulary

    def filter(self, qs: Any, value: str) -> Any:
        return qs.filter(conditions(value, self.vocabulary)) if value else qs


class LabelsFilter(django_filters.Filter):
    """Rows whose array column has all of these labels; with lookup_expr="overlap", any of them."""

    field_class = LabelsField

    def __init__(self, *, lookup_expr: str = "contains", **kwargs: Any) -> None:
        super().__init__(lookup_expr=lookup_expr, **kwargs)

    def filter(self, qs: Any, value: list[str]) -> Any:
        return qs.filter(**{f"{self.field_name}__{self.lookup_expr}": value}) if value else qs
