"""Answers that are JSON already, as the database made it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse


class JsonText(HttpResponse):
    """An answer whose text is JSON; `data` is what it says."""

    def __init__(self, text: str | bytes, status: int = 200) -> None:
        raw = text.encode() if isinstance(text, str) else text
        super().__init__(raw, content_type="application/json", status=status)

    @property
    def data(self) -> Any:
        return json.loads(self.content)


def page_text(results: Sequence[str], following: str | None, previous: str | None) -> JsonText:
    """One page of a list, its lines JSON each."""
    links = f'"next": {json.dumps(following)}, "previous": {json.dumps(previous)}'
    return JsonText(f'{{{links}, "results": [{", ".join(results)}]}}')
