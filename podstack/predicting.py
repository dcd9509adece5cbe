"""Predictions for many rows: sent in pieces, written as they come, with flat memory."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from podstack.calls import Calls
from podstack.errors import ServerError, ValidationError
from podstack.http import RETRIED, Body
from podstack.values import dump

ROWS, BYTES = 1000, 1 << 20  # of one request
NDJSON = "application/x-ndjson"
JSON_LINES = (".jsonl", ".ndjson")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\Z")
Rows = Iterable[Any] | str | os.PathLike[str]


@dataclass(frozen=True)
class BatchSummary:
    """What came of a file of rows: how many there were, how many got an error line instead, and where they are."""

    rows: int
    failed: int
    output: Path


class PredictingCalls(Calls):
    """`endpoint_name` is a deployment's name."""

    def batch_predict(
        self,
        endpoint_name: str,
        rows: Rows,
        output: str | os.PathLike[str],
        on_progress: Callable[[int], object] = lambda done: None,
    ) -> BatchSummary:
        """One JSON line per row into the file `output`: {"row", "prediction"}, or {"row", "error"} for a bad one.

        `rows` is a file, CSV with a header line or JSON lines, or anything that yields rows. The file gets its
        name when all rows are answered; a run that breaks leaves what it has in `output` + ".part", and the next
        one begins anew.
        """
        target = Path(output)
        part = target.with_name(f"{target.name}.part")
        done = failed = 0
        with part.open("w", encoding="utf-8") as file:
            for line in self.iter_predictions(endpoint_name, rows):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                done, failed = done + 1, failed + ("error" in line)
                on_progress(done)
        part.replace(target)
        return BatchSummary(done, failed, target)

    def iter_predictions(self, endpoint_name: str, rows: Rows) -> Iterator[dict[str, Any]]:
        """The lines that `batch_predict` writes, one by one."""
        before = 0
        for piece in _pieces(_rows_of(rows)):
            lines = self._answered(endpoint_name, piece)
            if len(lines) != len(piece):
                raise ServerError(
                    f"{endpoint_name} answered {len(lines)} of the {len(piece)} rows after row {before}.",
                    hint="Look at the endpoint's logs, then run it again.",
                )
            for at, line in enumerate(lines, before + 1):
                yield _renumbered(line, at)
            before += len(piece)

    def _ask_endpoint(self, endpoint_name: str, body: Body, path: str = "") -> requests.Response:
        """The answer at an endpoint's own address. It never changes: one that answered is not looked up again."""
        address = self._addresses.pop(endpoint_name, "")
        if not address:
            found = self.http.call("GET", self.path("deployments", endpoint_name))
            address = str(found["endpoint_url"])
        response = self.http.send(
            "POST",
            address + path,
            body=body,
            retried=RETRIED - {503},  # an endpoint that is not live says so with 503, and says why
        )
        self._addresses[endpoint_name] = address
        return response

    @cached_property
    def _addresses(self) -> dict[str, str]:
        return {}

    def _answered(self, endpoint_name: str, piece: list[bytes]) -> list[dict[str, Any]]:
        content = b"\n".join(piece)
        response = self._ask_endpoint(endpoint_name, Body(lambda: content, NDJSON), "/batch-predict")
        try:
            return [dict(json.loads(line)) for line in response.content.splitlines() if line]
        except (ValueError, TypeError) as error:
            raise ServerError(f"{endpoint_name} did not answer in JSON lines.") from error


def _renumbered(line: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The server counts within one piece."""
    own = f"Row {line.get('row')}"
    error = line.get("error")
    if isinstance(error, str) and error.startswith(own):
        return {**line, "row": number, "error": f"Row {number}{error[len(own) :]}"}
    return {**line, "row": number}


def _pieces(rows: Iterable[Any]) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for row in rows:
        line = dump(row)
        if piece and (len(piece) == ROWS or size + len(line) > BYTES):
            yield piece
            piece, size = [], 0
        piece.append(line)
        size += len(line) + 1
    if piece:
        yield piece


def _rows_of(rows: Rows) -> Iterable[Any]:
    if not isinstance(rows, str | os.PathLike):
        return rows
    path = Path(rows)
    if path.suffix.lower() == ".csv":
        return _csv(path)
    if path.suffix.lower() in JSON_LINES:
        return _json_lines(path)
    raise ValidationError(
        f"{path.name} is neither CSV nor JSON lines by its name.", hint="Name it .csv, .jsonl or .ndjson."
    )


def _csv(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        if not names or len(set(names)) != len(names):
            raise ValidationError(f"{path.name} does not begin with a line of different column names.")
        for values in reader:
            if len(values) != len(names):
                raise ValidationError(
                    f"Line {reader.line_num} of {path.name} has {len(values)} values; the header names {len(names)}."
                )
            yield dict(zip(names, map(_value, values), strict=True))


def _value(text: str) -> Any:
    """Numbers as numbers, except those with leading zeros; nothing as null."""
    if not text:
        return None
    return json.loads(text) if _NUMBER.match(text) else text


def _json_lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValidationError(f"Line {number} of {path.name} is not JSON.") from error
