"""Filters of lists, for REST and pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django_filters

from accounts.choices import DeliveryState, Notice
from accounts.models import AuditEntry, Notification, WebhookDelivery
from common.filters import MomentFilter

if TYPE_CHECKING:
    from django.db.models import QuerySet


class AuditFilter(django_filters.FilterSet):
    actor = django_filters.CharFilter(field_name="actor__username")
    since = MomentFilter(field_name="at", lookup_expr="gte")
    until = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = AuditEntry
        fields = ("verb", "object_type", "object_id", "door")


class NotificationFilter(django_filters.FilterSet):
    """`unread`: true or false; `kind`."""

    unread = django_filters.ChoiceFilter(
        choices=(("true", "unread"), ("false", "read")), method="by_unread", label="true or false"
    )
    kind = django_filters.ChoiceFilter(choices=Notice.choices)

    class Meta:
        model = Notification
        fields: tuple[str, ...] = ()

    def by_unread(self, rows: QuerySet[Notification], name: str, value: str) -> QuerySet[Notification]:
        return rows.filter(read_at__isnull=value == "true")


class DeliveryFilter(django_filters.FilterSet):
    """`state` and `event`."""

    state = django_filters.ChoiceFilter(choices=DeliveryState.choices)
    event = django_filters.CharFilter(field_name="event")

    class Meta:
        model = WebhookDelivery
        fields: tuple[str, ...] = ()
