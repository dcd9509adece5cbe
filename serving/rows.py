"""Rows of a request as the array that a model takes, or a sentence about the row that is wrong.

Rows are counted from 1, as people count them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from serving.problems import Problem
from serving.values import NON_FINITE, Array, number

EXAMPLE = '{"instances": [[1, 2, 3], [4, 5, 6]]}'


def instances_of(body: dict[str, Any]) -> list[Any]:
    """The list of rows of a plain request, or a 400 `Problem`."""
    if "instances" not in body:
        raise Problem(400, f"The body has no field 'instances'; send {EXAMPLE}.")
    rows = body["instances"]
    if not isinstance(rows, list) or not rows:
        raise Problem(400, f"The field 'instances' must be a list with at least one row; send {EXAMPLE}.")
    return rows


def table(rows: list[Any], columns: Sequence[str] | None, width: int | None) -> Array:
    """Rows (lists, or objects by column name) as an array of shape (rows, columns).

    float64 when every value is a number, else objects. `columns` are the model's own names, `width` the
    number of values it takes; None = not known. Raises `Problem` 422 naming the row or the column.
    """
    if all(isinstance(row, dict) for row in rows):
        rows = [_ordered(at, row, columns) for at, row in enumerate(rows, 1)]
    for at, row in enumerate(rows, 1):
        if not isinstance(row, list):
            raise Problem(422, f"Row {at} of 'instances' is no list of values; send one list per row.")
        expected = width if width is not None else len(rows[0])
        if len(row) != expected:
            takes = f"the model takes {expected}" if width is not None else f"row 1 has {expected}"
            raise Problem(422, f"Row {at} of 'instances' has {len(row)} values; {takes}.")
        for value in row:
            if isinstance(value, (list, dict)):
                raise Problem(422, f"Row {at} of 'instances' holds a list where the model takes a value.")
    return _array(rows)


def _ordered(at: int, row: dict[str, Any], columns: Sequence[str] | None) -> list[Any]:
    if columns is None:
        raise Problem(
            422, "The model knows no column names; send each row of 'instances' as a list of values."
        )
    check_names(at, row, columns)
    return [row[name] for name in columns]


def check_names(
    at: int, row: dict[str, Any], columns: Sequence[str], required: Collection[str] | None = None
) -> None:
    """Raises `Problem` 422 about a column that row `at` lacks, or has beside those of the model."""
    needed = columns if required is None else [name for name in columns if name in required]
    missing = next((name for name in needed if name not in row), None)
    if missing is not None:
        raise Problem(422, f"Row {at} of 'instances' lacks the column '{missing}'; {_takes(columns)}.")
    unknown = next((name for name in row if name not in columns), None) if len(row) > len(needed) else None
    if unknown is not None:
        raise Problem(422, f"Row {at} of 'instances' has the unknown column '{unknown}'; {_takes(columns)}.")


def _takes(columns: Sequence[str]) -> str:
    names = ", ".join(map(str, columns[:20])) + (" …" if len(columns) > 20 else "")
    return f"the model takes {names}"


def _array(rows: list[list[Any]]) -> Array:
    texts = any(isinstance(value, str) and value not in NON_FINITE for row in rows for value in row)
    if texts:
        array = np.empty((len(rows), len(rows[0])), dtype=object)
        array[:] = rows
        return array
    try:
        try:
            return np.array(rows, dtype=np.float64)
        except (ValueError, TypeError):
            return np.array([[number(value) for value in row] for row in rows], dtype=np.float64)
    except OverflowError:
        raise Problem(422, "The rows of 'instances' hold a whole number that is too large.") from None


def nested(rows: list[Any], datatype: Any, field: str = "instances") -> Array:
    """Rows of any depth as one array of `datatype`, or a 422 `Problem` when they are ragged."""
    try:
        return np.array(rows, dtype=datatype)
    except (ValueError, TypeError, OverflowError):
        pass
    try:
        return np.array(_numbers(rows), dtype=datatype)
    except (ValueError, TypeError, OverflowError, RecursionError):
        kind = np.dtype(datatype).name
        raise Problem(422, f"The rows of '{field}' are not all of one shape, or not all {kind}.") from None


def _numbers(value: Any) -> Any:
    return [_numbers(one) for one in value] if isinstance(value, list) else number(value)
