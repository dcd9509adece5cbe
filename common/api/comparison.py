"""What is compared, as JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.checks import plain_number


class RowSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    values = serializers.SerializerMethodField()
    differs = serializers.BooleanField()

    @extend_schema_field({"type": "array", "items": {}})
    def get_values(self, row: Any) -> list[Any]:
        return [plain_number(v) if isinstance(v, float) else v for v in row.values]


class MetricRowSerializer(RowSerializer):
    differences = serializers.ListField(
        child=serializers.FloatField(allow_null=True), help_text="to the first one's value"
    )
    direction = serializers.ChoiceField(
        choices=("lower", "higher", "unknown"), help_text="which way is better, as the key's name tells"
    )
    best = serializers.IntegerField(allow_null=True, help_text="index of the best value; null where unknown")


class FileRowSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    sha256 = serializers.ListField(child=serializers.CharField(allow_null=True))
    sizes = serializers.ListField(child=serializers.IntegerField(allow_null=True), help_text="bytes")
    changes = serializers.ListField(
        child=serializers.ChoiceField(choices=("same", "added", "removed", "changed")),
        help_text="to the first one",
    )
    differs = serializers.BooleanField()
