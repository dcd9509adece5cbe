"""Filters of lists, for REST and pages alike."""

from __future__ import annotations

import django_filters

from accounts.models import AuditEntry
from common.filters import MomentFilter


class AuditFilter(django_filters.FilterSet):
    actor = django_filters.CharFilter(field_name="actor__username")
    since = MomentFilter(field_name="at", lookup_expr="gte")
    until = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = AuditEntry
        fields = ("verb", "object_type", "object_id", "door")
