"""Filters that several lists share."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms


class LabelsField(forms.Field):
    """Any number of labels: `?tag=a&tag=b`."""

    widget = forms.SelectMultiple

    def to_python(self, value: Any) -> list[str]:
        return [str(v) for v in value or [] if str(v)]


class LabelsFilter(django_filters.Filter):
    """Rows whose array column has all of these labels."""

    field_class = LabelsField

    def filter(self, qs: Any, value: list[str]) -> Any:
        return qs.filter(**{f"{self.field_name}__contains": value}) if value else qs
