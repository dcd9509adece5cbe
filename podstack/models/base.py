"""What all answers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self

from podstack.values import parse_numbers


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What all answers share."""

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], **own: Any) -> Self:
        """An answer out of a JSON object; `own` sets fields that do not come from the server."""
        known = {f.name: f.metadata.get("parse") for f in fields(cls) if f.name not in ("extra", *own)}
        values = {
            name: data[name] if parse is None or data[name] is None else parse(data[name])
            for name, parse in known.items()
            if name in data
        }
        extra = {name: value for name, value in data.items() if name not in known}
        return cls(extra=extra, **values, **own)

    def __getattr__(self, name: str) -> Any:
        extra = object.__getattribute__(self, "__dict__").get("extra", {})
        if name in extra:
            return extra[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")


def parsed(parse: Callable[[Any], Any], default: Any) -> Any:
    return field(default=default, metadata={"parse": parse})


def moment() -> Any:
    return parsed(parse_time, None)


def many(kind: type[Answer]) -> Any:
    return parsed(lambda items: tuple(kind.from_json(item) for item in items), ())


def mapping() -> Any:
    return field(default_factory=dict)


def numbers() -> Any:
    return field(default_factory=dict, metadata={"parse": parse_numbers})


def parse_time(text: str) -> datetime:
    """An ISO 8601 time of the server."""
    return datetime.fromisoformat(text)


@dataclass(frozen=True, kw_only=True)
class Outcome(Answer):
    """What became of one item of a bulk act; `error` is the refusal, a problem document, or None."""

    model_name: str = ""
    version: int | str | None = None
    ok: bool = False
    error: Mapping[str, Any] | None = None
