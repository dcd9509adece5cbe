"""What floors above know about a model's use, told through here so that the registry need not know them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

LiveEndpoints = Callable[[Collection[int]], Mapping[int, list[tuple[str, int]]]]

WITH_ENDPOINT = "SELECT m.id FROM registry_registeredmodel m WHERE EXISTS ({})"

_sources: list[LiveEndpoints] = []
_names: list[str] = []


def register_live_endpoints(source: LiveEndpoints, names: str) -> None:
    """`source` maps ids of models to their endpoints that are not stopped: (endpoint name, version id) each.

    `names` says the same in SQL: a SELECT of the endpoints' names of the model `m`, to be part of a statement.
    """
    _sources.append(source)
    _names.append(names)


def endpoint_names() -> str:
    """A SELECT of the names of the endpoints of the model `m` that are not stopped."""
    return " UNION ALL ".join(_names) or "SELECT NULL::text WHERE false"


def live_endpoints(model_ids: Collection[int]) -> dict[int, list[tuple[str, int]]]:
    """For each of these models the endpoints that are not stopped; models without one are left out."""
    found: dict[int, list[tuple[str, int]]] = {}
    for source in _sources:
        for model_id, endpoints in source(model_ids).items():
            found.setdefault(model_id, []).extend(endpoints)
    return found


def with_endpoint() -> str:
    """A SELECT of the ids of the models that have an endpoint that is not stopped."""
    return WITH_ENDPOINT.format(endpoint_names())
