"""Reading the audit trail: newest first, in slices by id, so that its length costs nothing; and as a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from accounts.models import AuditEntry, Project
from common.checks import shorten
from common.errors import Invalid
from common.tables import defused

CSV, JSON_LINES = "csv", "jsonl"
FORMATS = (CSV, JSON_LINES)
COLUMNS = (
    *("id", "at", "actor", "token_prefix", "door", "verb", "object_type", "object_id"),
    *("before", "after", "request_id"),
)
AT_ONCE = 1000


def trail_of(project: Project) -> QuerySet[AuditEntry]:
    """The project's entries, newest first, each with its actor."""
    return AuditEntry.objects.filter(project=project).select_related("actor").order_by("-id")


def older_than(rows: QuerySet[AuditEntry], entry_id: int | None, count: int) -> list[AuditEntry]:
    """The first `count` entries, or those before the one with this id."""
    return list((rows if entry_id is None else rows.filter(id__lt=entry_id))[:count])


def check_format(value: object) -> str:
    """ "csv" or "jsonl"; Invalid for another."""
    if value not in FORMATS:
        what = "is missing" if value is None else f"is {shorten(value)}"
        raise Invalid.field("format", f"format {what}; it must be one of {', '.join(FORMATS)}.")
    return str(value)


def exported(rows: QuerySet[AuditEntry], kind: str) -> Iterator[bytes]:
    """All entries as CSV under a line of names, or as a JSON object a line; memory holds AT_ONCE of them."""
    write = _as_csv if kind == CSV else _as_json_lines
    if kind == CSV:
        yield ",".join(COLUMNS).encode() + b"\r\n"
    last: int | None = None
    while entries := older_than(rows, last, AT_ONCE):
        yield write([_values(each) for each in entries]).encode()
        last = entries[-1].pk


def _values(entry: AuditEntry) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in COLUMNS}
    actor = entry.actor.username if entry.actor else None
    return {**values, "at": entry.at.isoformat().replace("+00:00", "Z"), "actor": actor}


def _as_json_lines(entries: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in entries)


def _as_csv(entries: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in each.values()] for each in entries)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return "" if value is None else value
    return defused(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
