"""Statements of our own where the ORM's composing would cost more than the database's work.

They run on Django's connection, in its transaction, with values bound by the server; each is prepared once per
connection. Statements are constants of the code: a value never becomes part of one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import psycopg
from django.db import connection
from django.db.models import JSONField, Model

M = TypeVar("M", bound=Model)
Row = tuple[Any, ...]
PIECE = 64 * 1024

# A time as the API writes it, and a number that may be no number: JSON made by PostgreSQL reads like our own.
TIME = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def rows(
    statement: str, params: Sequence[Any] | Mapping[str, Any] = (), *, prepare: bool = True
) -> list[Row]:
    """All rows that `statement` gives; [] where it gives none. Placeholders are %s, or %(name)s by a mapping."""
    connection.ensure_connection()
    begun = time.monotonic()
    with connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection)
        cursor.execute(statement, params, prepare=prepare)
        found = cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []
        cursor.close()
    if connection.queries_logged:
        connection.queries_log.append({"sql": statement, "time": f"{time.monotonic() - begun:.3f}"})
    return found


def stream(statement: str, params: Sequence[Any] = ()) -> Iterator[Row]:
    """The same row by row as they arrive, so that memory holds one; until the last, the connection is busy."""
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        if connection.queries_logged:
            connection.queries_log.append({"sql": statement, "time": ""})
        yield from cursor.stream(statement, params)


def copy_out(statement: str, params: Sequence[Any] = ()) -> Iterator[bytes]:
    """What COPY … TO STDOUT gives, in pieces of 64 KiB or a little more; until the last, the connection is busy."""
    connection.ensure_connection()
    if connection.queries_logged:
        connection.queries_log.append({"sql": statement, "time": ""})
    with (
        connection.wrap_database_errors,
        psycopg.Cursor(connection.connection) as cursor,
        cursor.copy(statement, params) as lines,
    ):
        piece = bytearray()
        for line in lines:
            piece += line
            if len(piece) >= PIECE:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece)


def copy(statement: str, lines: Iterable[str]) -> None:
    """Writes rows by COPY … FROM STDIN; each line in PostgreSQL's text format, with its line break."""
    connection.ensure_connection()
    with (
        connection.wrap_database_errors,
        psycopg.Cursor(connection.connection) as cursor,
        cursor.copy(statement) as into,
    ):
        into.write("".join(lines))
    if connection.queries_logged:
        connection.queries_log.append({"sql": statement, "time": ""})


def row(statement: str, params: Sequence[Any] = ()) -> Row | None:
    """The first row that `statement` gives, or None."""
    found = rows(statement, params)
    return found[0] if found else None


def one(model: type[M], statement: str, params: Sequence[Any] = ()) -> M | None:
    """The first row as an instance of `model`, or None; the statement selects `columns(model, …)`."""
    found = row(statement, params)
    return None if found is None else instance(model, found)


def instance(model: type[M], values: Row) -> M:
    """An instance from the values of `columns(model, …)`."""
    texts = _json_fields(model)
    if texts:
        decoded = list(values)
        for index in texts:
            decoded[index] = None if values[index] is None else json.loads(values[index])
        values = tuple(decoded)
    return model.from_db(connection.alias, _names(model), values)


def instances(values: Row, *models: type[Model]) -> list[Any]:
    """One instance for each model, from the columns of all of them; None where an outer join found no row."""
    found: list[Any] = []
    for model in models:
        own, values = values[: width(model)], values[width(model) :]
        found.append(None if own[0] is None else instance(model, own))
    return found


def keep(row: Model, name: str, related: Sequence[Model]) -> None:
    """Makes these what `row.<name>.all()` gives, as `prefetch_related` does."""
    found = getattr(row, name).all()
    found._result_cache, found._prefetch_done = list(related), True
    row.__dict__.setdefault("_prefetched_objects_cache", {})[name] = found


@cache
def expand(statement: str, **models: type[Model]) -> str:
    """`statement` with `{m}` replaced by the columns of the model given as `m`, which is its alias there too."""
    return statement.format(**{alias: columns(model, alias) for alias, model in models.items()})


@cache
def columns(model: type[Model], alias: str) -> str:
    """The model's columns, as a SELECT names them."""
    return ", ".join(f'{alias}."{field.column}"' for field in model._meta.concrete_fields)


@cache
def width(model: type[Model]) -> int:
    """How many columns that are."""
    return len(model._meta.concrete_fields)


@cache
def _json_fields(model: type[Model]) -> tuple[int, ...]:
    """Where the JSON columns stand: Django's connections hand them over as text."""
    fields = model._meta.concrete_fields
    return tuple(index for index, field in enumerate(fields) if isinstance(field, JSONField))


@cache
def _names(model: type[Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def insert(row: Model, *, unless: str = "") -> bool:
    """Writes a new row and sets its key. With `unless`, the columns of a unique index, False where it has such a row."""
    fields = _written(type(row))
    values = [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields]
    found = rows(_insert(type(row), unless), values)
    if not found:
        return False
    row.pk = found[0][0]
    row._state.adding, row._state.db = False, connection.alias
    return True


def save(row: Model, **changes: Any) -> None:
    """Writes these fields, named by their attribute (`latest_version_id`), and sets them on `row`."""
    step = saving(row, **changes)
    rows(step.statement, step.params)


@dataclass(frozen=True)
class Step:
    """One of several statements that go to the database as one; each gives back an `id`.

    All see the rows as they were before the first; a later one may ask `(SELECT id FROM step0)` for what the first
    gave.
    """

    statement: str
    params: Sequence[Any]


def inserting(row: Model) -> Step:
    """A new row as a step. The caller sets its key."""
    fields = _written(type(row))
    values = [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields]
    return Step(_insert(type(row), ""), values)


def saving(row: Model, **changes: Any) -> Step:
    """The same for these fields of a row, which are set on `row` at once."""
    model = type(row)
    fields = [model._meta.get_field(name.removesuffix("_id")) for name in changes]
    for name, value in changes.items():
        setattr(row, name, value)
    values = [
        field.get_db_prep_save(value, connection)  # type: ignore[union-attr]
        for field, value in zip(fields, changes.values(), strict=True)
    ]
    return Step(_update(model, tuple(changes)), [*values, row.pk])


def together(steps: Sequence[Step]) -> Row:
    """Does all steps by one statement; the id that each gave (of several the lowest), or None."""
    return rows(_together(tuple(step.statement for step in steps)), params_of(steps))[0]


def params_of(steps: Sequence[Step]) -> list[Any]:
    """The values of all of them, in order."""
    return [value for step in steps for value in step.params]


@cache
def clauses(statements: tuple[str, ...]) -> str:
    """Statements as the clauses step0, step1, … of a WITH."""
    return ", ".join(f"step{number} AS ({text})" for number, text in enumerate(statements))


@cache
def ids(count: int) -> str:
    """What a SELECT beside those clauses says to get the id that each gave."""
    return ", ".join(f"(SELECT min(id) FROM step{number})" for number in range(count))  # noqa: S608


@cache
def _together(statements: tuple[str, ...]) -> str:
    return f"WITH {clauses(statements)} SELECT {ids(len(statements))}"


@cache
def _written(model: type[Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if not field.primary_key]


@cache
def _insert(model: type[Model], unless: str) -> str:
    fields = _written(model)
    names = ", ".join(f'"{field.column}"' for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    conflict = f"ON CONFLICT {unless} DO NOTHING" if unless else ""
    return f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({marks}) {conflict} RETURNING id"  # noqa: S608


@cache
def _update(model: type[Model], attributes: tuple[str, ...]) -> str:
    columns_of = {field.attname: field.column for field in model._meta.concrete_fields}
    assignments = ", ".join(f'"{columns_of[name]}" = %s' for name in attributes)
    return f"UPDATE {model._meta.db_table} SET {assignments} WHERE id = %s RETURNING id"  # noqa: S608
