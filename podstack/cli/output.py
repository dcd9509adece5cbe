"""What the command line prints on stdout: aligned tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from typing import IO, Any

import click

from podstack.models import Answer, ComparedRow, Comparison, RunComparison
from podstack.values import plain

Column = str | Callable[[Any], Any]
Columns = Mapping[str, Column]
NOT_SHOWN = ("extra", "calls")
MEASURED = 100  # rows that the widths of a table are taken from
WIDEST = 60
DIGEST = 12  # of 64 digits
GOOD = frozenset({"Active", "Completed", "Production", "Ready", "applied", "Approved"})
BAD = frozenset({"Degraded", "Failed", "Killed", "Quarantined", "Rejected"})
UNDER_WAY = frozenset({"Deploying", "Pending", "Running", "Staging", "Updating", "pending_approval"})


def colours(stream: IO[str] | None) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set."""
    return not os.environ.get("NO_COLOR") and stream is not None and stream.isatty()


# JSON


def as_rest(value: Any) -> Any:
    """An answer of the SDK as the REST API sent it: the same names, times in UTC, NaN as text."""
    if isinstance(value, Answer):
        own = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in NOT_SHOWN}
        return as_rest({**own, **value.extra})
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): as_rest(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_rest(item) for item in value]
    return plain(value)


def print_json(value: Any) -> None:
    """One answer as one JSON document."""
    click.echo(json.dumps(as_rest(value), indent=2, ensure_ascii=False))


def print_json_list(answers: Iterator[Any]) -> None:
    """Answers as one JSON array that is written while they come; nothing when the first does not come."""
    first = list(islice(answers, 1))
    if not first:
        click.echo("[]")
        return
    for number, answer in enumerate(chain(first, answers)):
        click.echo("[" if number == 0 else ",")
        click.echo(json.dumps(as_rest(answer), indent=2, ensure_ascii=False), nl=False)
    click.echo("\n]")


# Tables


def print_table(answers: Iterator[Any], columns: Columns) -> int:
    """Rows as they come, below a header; answers how many. The first hundred decide the widths."""
    first = [cells_of(answer, columns) for answer in islice(answers, MEASURED)]
    if not first:
        return 0
    widths = [max(width(cell) for cell in column) for column in zip(columns, *first, strict=True)]
    click.echo(_line([click.style(title, bold=True) for title in columns], list(columns), widths))
    count = 0
    for cells in chain(first, (cells_of(answer, columns) for answer in answers)):
        click.echo(_line([_coloured(cell) for cell in cells], cells, widths))
        count += 1
    return count


def cells_of(answer: Any, columns: Columns) -> list[str]:
    """An answer's columns as short texts."""
    return [_cut(cell(_value(answer, column))) for column in columns.values()]


def print_fields(answer: Any, leave_out: Sequence[str] = ()) -> None:
    """Everything about one answer, a field a line, dictionaries below their name."""
    named = answer.items() if isinstance(answer, Mapping) else _fields(answer)
    known = {name: value for name, value in named if name not in leave_out}
    margin = max((len(_label(name)) for name in known), default=0) + 2
    for name, value in known.items():
        label = click.style(_label(name).ljust(margin), bold=True)
        if isinstance(value, Mapping) and value:
            click.echo(label.rstrip())
            inner = max(width(one_line(str(key))) for key in value) + 2
            for key, item in value.items():
                click.echo(f"  {_padded(one_line(str(key)), inner)}{cell(item)}")
        else:
            text = cell(value)
            click.echo(label + (_coloured(text)))


def cell(value: Any) -> str:
    """A value as one line of text: local times, "-" for nothing."""
    if value is None or value == "" or value == () or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Answer):
        return cell(dict(_fields(value)))
    if isinstance(value, Mapping):
        return ", ".join(f"{one_line(str(key))}={cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return one_line(str(value))


def size(count: int) -> str:
    """Bytes as people read them: 1.5 MiB."""
    amount, units = float(count), ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units[:-1]:
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} {units[-1]}"


def one_line(text: str) -> str:
    """A text without line breaks, and without what could steer the terminal it is printed on."""
    flat = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in flat)


def width(text: str) -> int:
    """Places that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _fields(answer: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(answer):
        if field.name not in NOT_SHOWN:
            yield field.name, getattr(answer, field.name)
    yield from answer.extra.items()


def _value(answer: Any, column: Column) -> Any:
    if callable(column):
        return column(answer)
    return answer.get(column) if isinstance(answer, Mapping) else getattr(answer, column)


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _coloured(text: str) -> str:
    colour = "green" if text in GOOD else "red" if text in BAD else "yellow" if text in UNDER_WAY else None
    return click.style(text, fg=colour) if colour else text


def _padded(text: str, places: int) -> str:
    return text + " " * (places - width(text))


def _line(shown: Sequence[str], bare: Sequence[str], widths: Iterable[int]) -> str:
    """`shown` may hold colours; `bare` says how wide each cell is."""
    gaps = (" " * (places - width(text)) for text, places in zip(bare, widths, strict=True))
    return "  ".join(text + gap for text, gap in zip(shown, gaps, strict=True)).rstrip()


def compared_rows(found: Comparison | RunComparison) -> list[dict[str, Any]]:
    """What is compared, a row each with its `kind`; files by the beginnings of their digests."""
    validation = found.validation_metrics if isinstance(found, Comparison) else ()
    kinds: tuple[tuple[str, Sequence[ComparedRow]], ...] = (
        ("metric", found.metrics),
        ("validation", validation),
        ("param", found.params),
        ("tag", found.tags),
        ("dataset", found.datasets),
    )
    rows = [
        {"kind": kind, "key": row.key, "values": row.values, "differs": row.differs}
        for kind, compared in kinds
        for row in compared
    ]
    files = [
        {
            "kind": "file",
            "key": file.path,
            "values": [digest and digest[:DIGEST] for digest in file.sha256],
            "differs": file.differs,
        }
        for file in found.files
    ]
    return rows + files


def print_side_by_side(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows with `kind`, `key` and a list of `values`: a column for each of `names`."""
    columns: dict[str, Column] = {"": "kind", "KEY": "key"}
    for index, name in enumerate(names):
        columns[name] = partial(_value_at, index)
    print_table(iter(rows), columns)


def _value_at(index: int, row: Mapping[str, Any]) -> Any:
    return row["values"][index]
