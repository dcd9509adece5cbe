"""What a model's rows must look like, where the files tell it: columns by name and kind, and an example.

A request that does not fit is refused with a sentence about its row and column before the model sees it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.problems import Problem
from serving.rows import check_names
from serving.values import NON_FINITE, Array

NUMBER, WHOLE, TEXT, TRUTH = "a number", "a whole number", "a text", "true or false"
SHORT = {NUMBER: "number", WHOLE: "whole", TEXT: "text", TRUTH: "truth"}
MLFLOW_KINDS = {
    "double": NUMBER,
    "float": NUMBER,
    "integer": WHOLE,
    "long": WHOLE,
    "string": TEXT,
    "boolean": TRUTH,
    "datetime": TEXT,
}
EXAMPLE_FILES = ("input_example.json", "serving_input_example.json")
LARGEST_EXAMPLE = 1 << 20


@dataclass(frozen=True)
class Column:
    """One column: its name ('' where it has none), what it takes ('' = anything), and whether rows need it."""

    name: str = ""
    kind: str = ""
    required: bool = True

    def as_dict(self) -> dict[str, Any]:
        """As the metadata shows it."""
        return {"name": self.name, "kind": SHORT.get(self.kind, "any"), "required": self.required}


@dataclass(frozen=True)
class Signature:
    """All columns of a table, in the model's order."""

    columns: Sequence[Column]

    @property
    def names(self) -> list[str] | None:
        """The columns' names, where each has one."""
        names = [column.name for column in self.columns]
        return names if all(names) else None

    def check_tensors(self, tensors: dict[str, Array]) -> None:
        """The same for the tensors of an infer request: one per column by its name, or one of rows and columns."""
        by_name = {column.name: column for column in self.columns if column.name}
        first = next(iter(tensors.values()))
        if len(tensors) == 1 and first.ndim == 2 and first.shape[1] == len(self.columns):
            for place, column in enumerate(self.columns):
                shown = f"'{column.name}'" if column.name else str(place + 1)
                _check_column(column, shown, first[:, place])
        elif any(name in by_name for name in tensors):
            takes = f"the model takes {', '.join(list(by_name)[:20])}"
            for name, column in by_name.items():
                if column.required and name not in tensors:
                    raise Problem(422, f"inputs lacks '{name}'; {takes}.")
            for name, array in tensors.items():
                if name not in by_name:
                    raise Problem(422, f"inputs names '{name}'; {takes}.")
                _check_column(by_name[name], f"'{name}'", array)

    def check(self, rows: list[Any]) -> None:
        """Raises `Problem` 422 about the first value that does not fit. Shapes are the model's to check."""
        by_name = {column.name: column for column in self.columns if column.name}
        width = len(self.columns)
        for at, row in enumerate(rows, 1):
            if isinstance(row, dict) and by_name:
                check_names(at, row, list(by_name), {name for name, one in by_name.items() if one.required})
                for name, value in row.items():
                    if not _fits(value, by_name[name].kind):
                        _refuse(at, f"'{name}'", by_name[name].kind, value)
            elif isinstance(row, list) and len(row) == width:
                for place, (column, value) in enumerate(zip(self.columns, row, strict=True), 1):
                    if not _fits(value, column.kind):
                        _refuse(at, f"'{column.name}'" if column.name else str(place), column.kind, value)

    def in_order(self, rows: list[Any]) -> list[Any]:
        """Rows by name as lists in the columns' order, for a model that knows no names."""
        names = self.names
        if names is None:
            return rows
        return [[row.get(name) for name in names] if isinstance(row, dict) else row for row in rows]


def numbers(width: int, names: Sequence[str] | None = None) -> Signature:
    """A table of so many columns of numbers."""
    return Signature([Column(name, NUMBER) for name in names or [""] * width])


def of_mlflow(inputs: Sequence[dict[str, Any]]) -> Signature | None:
    """The signature of an MLmodel file; None where it describes tensors or nothing."""
    if not inputs or any(str(each.get("type")) == "tensor" for each in inputs):
        return None
    return Signature(
        [
            Column(
                str(each.get("name") or ""),
                MLFLOW_KINDS.get(str(each.get("type")), ""),
                bool(each.get("required", True)),
            )
            for each in inputs
        ]
    )


def _fits(value: Any, kind: str) -> bool:
    if not kind or value is None or value != value:
        return True
    if kind == TEXT:
        return isinstance(value, str)
    if kind == TRUTH:
        return isinstance(value, bool)
    if isinstance(value, str):
        return value in NON_FINITE
    if kind == WHOLE:
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, (int, float))


def _check_column(column: Column, shown: str, array: Array) -> None:
    if not column.kind or (column.kind == NUMBER and array.dtype.kind in "fiu"):
        return
    for at, value in enumerate(array.ravel().tolist(), 1):
        if not _fits(value, column.kind):
            _refuse(at, shown, column.kind, value, "inputs")


def _refuse(at: int, column: str, kind: str, value: Any, field: str = "instances") -> None:
    shown = json.dumps(value, ensure_ascii=False, default=str)[:60]
    raise Problem(422, f"Row {at} of '{field}': the column {column} takes {kind}, not {shown}.")


def example_of(folder: Path, named: str = "") -> list[Any] | None:
    """Rows of the example that lies beside a model; None where there is none that can be read."""
    for name in [named, *EXAMPLE_FILES] if named else EXAMPLE_FILES:
        path = folder / name
        try:
            if path.resolve().is_relative_to(folder.resolve()) and path.stat().st_size <= LARGEST_EXAMPLE:
                return _rows(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
    return None


def _rows(said: Any) -> list[Any] | None:
    """Rows of {"instances": …}, of a bare list, or of a table as pandas splits it."""
    if isinstance(said, dict) and isinstance(said.get("dataframe_split"), dict):
        said = said["dataframe_split"]
    if isinstance(said, dict) and isinstance(said.get("data"), list):
        names, data = said.get("columns"), said["data"]
        named = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return [dict(zip(names, row, strict=True)) for row in data] if named and names else data
    rows = said.get("instances", said.get("inputs")) if isinstance(said, dict) else said
    return rows if isinstance(rows, list) and rows else None
