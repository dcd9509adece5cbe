"""Filters of approval requests, for REST and the page alike."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms

from approvals.choices import RequestState
from approvals.models import ApprovalRequest
from common.checks import shorten
from common.filters import MomentFilter, NameFilter
from registry.choices import Stage
from registry.queries import check_model


class NumberField(forms.IntegerField):
    """A version's number: 1.5 is none."""

    def to_python(self, value: Any) -> int | None:
        try:
            return super().to_python(value)
        except forms.ValidationError as error:
            sentence = f"version is {shorten(value)}; it must be a whole number."
            raise forms.ValidationError(sentence) from error


class NumberFilter(django_filters.NumberFilter):
    field_class = NumberField


class RequestFilter(django_filters.FilterSet):
    """`status`, `stage`, `model`, `version`, `requester`, and from when to when they were made."""

    status = django_filters.ChoiceFilter(field_name="state", choices=RequestState.choices)
    stage = django_filters.ChoiceFilter(field_name="to_stage", choices=Stage.choices)
    model = NameFilter(check_model, field_name="version__model__name", label="a model's name")
    version = NumberFilter(field_name="version__number", label="a version's number")
    requester = django_filters.CharFilter(field_name="requested_by__username", label="who asked")
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = ApprovalRequest
        fields: tuple[str, ...] = ()
