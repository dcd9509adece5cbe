"""Many rows in, many predictions out: JSON lines, read and answered in pieces so that memory stays flat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from serving.batching import split
from serving.problems import Problem
from serving.values import encode

ROWS = 256
LONGEST_LINE = 4 << 20
Predict = Callable[[list[Any]], Any]
Row = tuple[int, Any, str]  # number, value, and what is wrong with it


def answers(stream: BinaryIO, predict: Predict, told: Callable[[Exception], str]) -> Iterator[bytes]:
    """One JSON line per row, in their order: {"row", "prediction"}, or {"row", "error"} for a bad one."""
    piece: list[Row] = []
    for row in _rows(stream):
        piece.append(row)
        if len(piece) == ROWS:
            yield _answer(piece, predict, told)
            piece = []
    if piece:
        yield _answer(piece, predict, told)


def _rows(stream: BinaryIO) -> Iterator[Row]:
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        if not line.strip():
            continue
        number += 1
        if len(line) > LONGEST_LINE:
            yield (
                number,
                None,
                f"Row {number} is longer than {LONGEST_LINE} bytes; the rows after it were not read.",
            )
            return
        try:
            yield number, json.loads(line), ""
        except (ValueError, RecursionError):
            yield number, None, f"Row {number} is not JSON; send one list or object per line."


def _answer(piece: list[Row], predict: Predict, told: Callable[[Exception], str]) -> bytes:
    good = [value for _, value, wrong in piece if not wrong]
    try:
        found = iter(split(predict(good), [1] * len(good))) if good else iter(())
        lines = [_line(row, lambda: next(found)[0], told) for row in piece]
    except Exception:  # somewhere among them is a bad row: each by itself tells which
        lines = [_line(row, lambda row=row: split(predict([row[1]]), [1])[0][0], told) for row in piece]  # type: ignore[misc]
    return b"".join(lines)


def _line(row: Row, predicted: Callable[[], Any], told: Callable[[Exception], str]) -> bytes:
    number, _, wrong = row
    if not wrong:
        try:
            return encode({"row": number, "prediction": predicted()}) + b"\n"
        except Problem as problem:
            wrong = problem.detail.replace("Row 1 of 'instances'", f"Row {number}")
        except Exception as error:
            wrong = told(error)
    return encode({"row": number, "error": wrong}) + b"\n"
