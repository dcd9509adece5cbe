"""A stored file as a page may show it: text, a table or an image; never run, never as what it says it is."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field

from artifacts.models import Blob
from artifacts.services import open_blob

MOST_TEXT = 1 << 20  # bytes
MOST_IMAGE = 10 << 20
MOST_ROWS = 200
MOST_COLUMNS = 50
MOST_CELL = 500  # characters
TABLES = {"csv": ",", "tsv": "\t"}
# The first bytes say what an image is, whatever its name says.
IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@dataclass(frozen=True)
class Preview:
    """`kind` is text, table, image or none, which `reason` explains. `cut`: there is more than is shown."""

    kind: str
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)
    cut: bool = False
    reason: str = ""


def preview_of(blob: Blob, path: str) -> Preview:
    """What of the file can be shown; reads 1 MiB of it at most."""
    if not blob.size:
        return Preview("none", reason="The file is empty.")
    with open_blob(blob) as file:
        head = file.read(MOST_TEXT)
    if image_type(head):
        if blob.size > MOST_IMAGE:
            return Preview("none", reason="The image is larger than 10 MiB.")
        return Preview("image")
    text = _decoded(head, cut=blob.size > len(head))
    if text is None:
        return Preview("none", reason="It is no text and no image that can be shown.")
    ending = path.rpartition(".")[2].lower()
    if ending in TABLES:
        return _table(text, TABLES[ending], blob.size > len(head))
    if ending == "json" and blob.size <= len(head):
        text = _indented(text)
    return Preview("text", text=text, cut=blob.size > len(head))


def image_type(head: bytes) -> str:
    """The media type that the first bytes tell, or "" for no image that a page may show."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in IMAGES if head.startswith(start)), "")


def _decoded(head: bytes, *, cut: bool) -> str | None:
    """The text, or None for what is none. A character that the cut went through is left out."""
    for end in range(len(head), max(len(head) - 4, 0) if cut else len(head) - 1, -1):
        try:
            text = head[:end].decode()
        except UnicodeDecodeError:
            continue
        return None if "\0" in text else text.removeprefix("\ufeff")
    return None


def _table(text: str, delimiter: str, cut: bool) -> Preview:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            if len(rows) > MOST_ROWS:
                return Preview("table", rows=rows[: MOST_ROWS + 1], cut=True)
            rows.append([cell[:MOST_CELL] for cell in row[:MOST_COLUMNS]])
    except csv.Error:
        return Preview("text", text=text, cut=cut)
    return Preview("table", rows=rows, cut=cut)


def _indented(text: str) -> str:
    """With a line for each value, unless that would be far more to look at than the file."""
    lines: list[str] = []
    size = 0
    try:
        for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(text)):
            size += len(piece)
            if size > MOST_TEXT:
                return text
            lines.append(piece)
    except (ValueError, RecursionError):
        return text
    return "".join(lines)
