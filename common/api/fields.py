"""Serializer fields that several nouns share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.checks import check_number, check_text, plain_number, shorten
from common.errors import Invalid

LONGEST_REF = 100
NUMBER_SCHEMA = {"oneOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}


@extend_schema_field(NUMBER_SCHEMA)
class NumberField(serializers.Field[float, Any, Any, Any]):
    """A 64-bit float; NaN and the infinities travel as text."""

    def to_internal_value(self, data: Any) -> float:
        try:
            return check_number(self.field_name or "value", data)
        except Invalid as error:
            raise serializers.ValidationError(error.message) from error

    def to_representation(self, value: float) -> float | str:
        return plain_number(value)


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}], "nullable": True}
)
class ScalarField(serializers.Field[Any, Any, Any, Any]):
    """One JSON scalar."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict | list):
            raise serializers.ValidationError("must be text, a number, true, false or null.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}]})
class VersionRefField(serializers.Field[Any, Any, Any, Any]):
    """A version number, or text that names one: "v3", "latest" or an alias."""

    def to_internal_value(self, data: Any) -> str | int:
        if isinstance(data, bool) or not isinstance(data, str | int):
            raise serializers.ValidationError("must be a version number or an alias.")
        try:
            return check_text("version", data, max_length=LONGEST_REF) if isinstance(data, str) else data
        except Invalid as error:
            raise serializers.ValidationError(error.message) from error

    def to_representation(self, value: Any) -> Any:
        return value


class RowsField(serializers.Field[Any, Any, Any, Any]):
    """Objects that the verb checks: a serializer for each would cost more than storing them.

    Only fields that it would pass over are refused here, as `check_known` does elsewhere.
    """

    known: ClassVar[Collection[str]]

    def to_internal_value(self, data: Any) -> Any:
        for index, row in enumerate(data if isinstance(data, list) else ()):
            if isinstance(row, dict) and not row.keys() <= set(self.known):
                name = next(name for name in row if name not in self.known)
                raise no_field(f"{self.field_name}.{index}.{name}", self.known)
        return data

    def to_representation(self, value: Any) -> Any:
        return value


def no_field(path: str, known: Collection[str]) -> Invalid:
    """The refusal of a field that a request does not have."""
    hint = f"There are: {', '.join(known)}." if known else "It takes none."
    return Invalid.field(path[:80], f"{shorten(path)} is no field of this request.", hint)
