"""What every group of calls stands on: the door to the server and the project."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from podstack.errors import ValidationError
from podstack.http import Http, path_of

T = TypeVar("T")


class Listing(Iterator[T]):
    """What a call lists, fetched page by page while it is gone through, once: for all at once make a list of it."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items

    def __next__(self) -> T:
        return next(self._items)

    def __repr__(self) -> str:
        return "<Listing: fetched while you go through it; list(…) of it holds all, next(…) gives the first>"

    def __getitem__(self, index: object) -> NoReturn:
        raise TypeError(
            "A Listing is fetched while you go through it: write list(…)[0], or next(…) for the first."
        )

    def __len__(self) -> NoReturn:
        raise TypeError("A Listing does not know its length before it was gone through: write len(list(…)).")

    def __bool__(self) -> NoReturn:
        raise TypeError("A Listing does not know whether it holds anything: write next(…, None) is not None.")


class Calls:
    """Base of the groups that make up MLOpsClient."""

    http: Http

    @property
    def project(self) -> str:
        """The project's slug that all calls speak of."""
        raise NotImplementedError

    def path(self, *parts: object) -> str:
        """The API path of something in the project; ValidationError for a name that no noun has."""
        if len(parts) > 1 and "/" in str(parts[1]):
            raise ValidationError(
                f"{str(parts[1])!r} is not a name: it holds a '/'.",
                hint="A version is an argument of its own." if parts[0] == "models" else "",
            )
        return path_of("projects", self.project, *parts)

    def listed(
        self, parse: Callable[[Mapping[str, Any]], T], path_parts: tuple[object, ...], **params: Any
    ) -> Listing[T]:
        """A list as an iterator that fetches page by page."""

        def items() -> Iterator[T]:
            for item in self.http.pages(self.path(*path_parts), params):
                yield parse(item)

        return Listing(items())


def moment(value: datetime | str | None) -> str | None:
    """A time as the API reads it; a datetime without a zone means local time, as everywhere in Python."""
    return value.astimezone().isoformat() if isinstance(value, datetime) else value


def version_ref(version: Any) -> int | str:
    """A number or an alias; also of what other calls answer: a version, or a model's `production_version`."""
    found = getattr(version, "version", version)
    if isinstance(found, str):
        return found
    if not isinstance(found, bool):
        with suppress(TypeError):
            return operator.index(found)
    raise ValidationError(f"version is {found!r}; it must be a number, or an alias such as 'latest'.")


def given(**values: Any) -> dict[str, Any]:
    """The fields that are not None: those that a PATCH or an optional field of a POST carries."""
    return {name: value for name, value in values.items() if value is not None}
