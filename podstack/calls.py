"""What every group of calls stands on: the door to the server and the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from podstack.http import Http, path_of

T = TypeVar("T")


class Calls:
    """Base of the groups that make up MLOpsClient."""

    http: Http

    @property
    def project(self) -> str:
        """The project's slug that all calls speak of."""
        raise NotImplementedError

    def path(self, *parts: object) -> str:
        """The API path of something in the project."""
        return path_of("projects", self.project, *parts)

    def listed(
        self, parse: Callable[[Mapping[str, Any]], T], path_parts: tuple[object, ...], **params: Any
    ) -> Iterator[T]:
        """A list as an iterator that fetches page by page."""
        for item in self.http.pages(self.path(*path_parts), params):
            yield parse(item)


def moment(value: datetime | str | None) -> str | None:
    """A time as the API reads it; a datetime without a zone means local time, as everywhere in Python."""
    return value.astimezone().isoformat() if isinstance(value, datetime) else value


def given(**values: Any) -> dict[str, Any]:
    """The fields that are not None: those that a PATCH or an optional field of a POST carries."""
    return {name: value for name, value in values.items() if value is not None}
