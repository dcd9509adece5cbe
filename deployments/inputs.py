"""What one row of a model looks like, as a form shows it: by its columns, its example, or its tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

MOST_FIELDS = 40
MOST_VALUES = 1000
WHOLE = ("INT", "UINT")
TEXTS = ("BYTES", "STRING", "OBJECT", "DATETIME")
KINDS = ("number", "whole", "text", "truth", "any")


@dataclass(frozen=True)
class Field:
    """One value of a row: `kind` is number, whole, text, truth, or any, where nobody tells which it takes."""

    name: str
    kind: str
    example: Any
    required: bool = True


@dataclass(frozen=True)
class Inputs:
    """One row: `fields` where it is a list (or, `named`, an object) of single values, or, `bare`, a value alone."""

    fields: Sequence[Field]
    named: bool
    example: Any
    bare: bool = False

    @property
    def shape(self) -> str:
        """The fields as a form keeps them, for `inputs_as_shown`."""
        fields = [[field.name, field.kind, field.required] for field in self.fields]
        return json.dumps({"named": self.named, "bare": self.bare, "fields": fields})

    def row(self, values: Sequence[Any]) -> Any:
        """The row of these values, one for each field; a column that may be left out is, where it has none."""
        if self.bare:
            return values[0]
        if not self.named:
            return list(values)
        pairs = zip(self.fields, values, strict=True)
        return {field.name: value for field, value in pairs if value is not None or field.required}

    def values(self, row: Any) -> list[Any]:
        """What of a row stands in each field; None where it has nothing there."""
        if self.bare:
            return [row]
        if isinstance(row, Mapping):
            return [row.get(field.name) for field in self.fields]
        listed = list(row) if isinstance(row, list) else []
        return [*listed, *[None] * len(self.fields)][: len(self.fields)]


# Rows whose fields nobody knows are typed as JSON.
FREE = Inputs((), False, [1.0, 2.0])


def inputs_told(about: Mapping[str, Any]) -> Inputs:
    """From a serving process's metadata: its tensors, and the columns and the example row that its files name."""
    tensors = mappings(about.get("inputs"))
    facts = about.get("parameters")
    facts = facts if isinstance(facts, Mapping) else {}
    columns, example = mappings(facts.get("columns")), facts.get("example")
    found = inputs_from(tensors)
    if columns and not found.named:
        found = _of_columns(columns)
    if example is None:
        return found
    if not found.fields or (found.bare and not isinstance(example, str)):
        return _of_example(example)
    return _starting_with(found, example)


def inputs_from(tensors: Sequence[Mapping[str, Any]]) -> Inputs:
    """From the entries of a signature: columns by name, one row of numbers, one text, or one nested list."""
    known = [(str(each.get("name")), _kind(each), _shape(each)) for each in tensors]
    if 1 < len(known) <= MOST_FIELDS and all(_is_column(shape) for _, _, shape in known):
        return _by_fields([Field(name, kind, _example(kind)) for name, kind, _ in known], named=True)
    if len(known) == 1:
        name, kind, shape = known[0]
        if kind == "text" and len(shape) == 1:
            return Inputs([Field("Text", kind, _example(kind))], False, _example(kind), bare=True)
        if not shape and tensors[0].get("shape") is None:  # a table of one column
            return _by_fields([Field(name, kind, _example(kind))], named=True)
        width = shape[-1] if len(shape) == 2 else 0
        if 0 < width <= MOST_FIELDS:
            return _by_fields([_numbered(number, kind) for number in range(1, width + 1)], named=False)
        if len(shape) > 1 and all(each > 0 for each in shape[1:]) and math.prod(shape[1:]) <= MOST_VALUES:
            return Inputs((), False, _nested(shape[1:], _example(kind)))
    return FREE


def inputs_as_shown(shape: str) -> Inputs | None:
    """The inputs whose `shape` a form sent back; None when it is none."""
    try:
        found = json.loads(shape)
        fields = [
            Field(str(name), str(kind), _example(str(kind)), required is not False)
            for name, kind, required in found["fields"][:MOST_FIELDS]
        ]
        if not fields:
            return None
        if found.get("bare") is True:
            return Inputs(fields[:1], False, fields[0].example, bare=True)
        return _by_fields(fields, named=found["named"] is True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def mappings(found: Any) -> list[Mapping[str, Any]]:
    """Those entries of a list that are objects."""
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _of_columns(columns: Sequence[Mapping[str, Any]]) -> Inputs:
    fields = []
    for number, each in enumerate(columns, 1):
        kind = each.get("kind") if each.get("kind") in KINDS else "any"
        name = str(each.get("name") or f"Value {number}")
        fields.append(Field(name, str(kind), _example(str(kind)), each.get("required") is not False))
    found = _by_fields(fields, named=all(each.get("name") for each in columns))
    return found if len(fields) <= MOST_FIELDS else Inputs((), False, found.example)


def _of_example(row: Any) -> Inputs:
    """Fields for each value of an example row, where each is one by itself."""
    if isinstance(row, str):
        return Inputs([Field("Text", "text", row)], False, row, bare=True)
    named = isinstance(row, Mapping)
    pairs = [(str(name), value) for name, value in row.items()] if named else []
    if isinstance(row, list):
        pairs = [(f"Value {number}", value) for number, value in enumerate(row, 1)]
    flat = all(value is None or isinstance(value, (str, int, float)) for _, value in pairs)
    if not (0 < len(pairs) <= MOST_FIELDS and flat):
        return Inputs((), False, row)
    return Inputs([Field(name, _kind_of(value), value) for name, value in pairs], named, row)


def _starting_with(found: Inputs, row: Any) -> Inputs:
    values = found.values(row)
    if not found.bare and not isinstance(row, (Mapping, list)):
        return found
    fields = [replace(field, example=value) for field, value in zip(found.fields, values, strict=True)]
    return replace(found, fields=fields, example=found.row(values))


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    return "text" if isinstance(value, str) else "any" if value is None else "number"


def _kind(entry: Mapping[str, Any]) -> str:
    name = str(entry.get("datatype") or entry.get("dtype") or "").upper()
    if name.startswith(("BOOL", "BOOLEAN")):
        return "truth"
    if name.startswith(WHOLE) or name == "LONG":
        return "whole"
    return "text" if name.startswith(TEXTS) else "number"


def _numbered(number: int, kind: str) -> Field:
    return Field(f"Value {number}", kind, _example(kind))


def _by_fields(fields: Sequence[Field], *, named: bool) -> Inputs:
    found = Inputs(fields, named, None)
    return replace(found, example=found.row([field.example for field in fields]))


def _shape(entry: Mapping[str, Any]) -> list[int]:
    shape = entry.get("shape")
    return [each if isinstance(each, int) else -1 for each in shape] if isinstance(shape, list) else []


def _is_column(shape: Sequence[int]) -> bool:
    return len(shape) <= 1 or (len(shape) == 2 and shape[1] == 1)


def _example(kind: str) -> Any:
    return {"truth": True, "whole": 1, "text": "some text"}.get(kind, 0.5)


def _nested(shape: Sequence[int], value: Any) -> Any:
    return [_nested(shape[1:], value) for _ in range(shape[0])] if shape else value
