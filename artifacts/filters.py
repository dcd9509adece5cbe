"""Filters of uploads."""

from __future__ import annotations

import django_filters

from artifacts.models import Upload


class UploadFilter(django_filters.FilterSet):
    sha256 = django_filters.CharFilter(label="of these bytes")

    class Meta:
        model = Upload
        fields: tuple[str, ...] = ()
