"""What floors above know about a model's use, told through here so that the registry need not know them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

LiveEndpoints = Callable[[Collection[int]], Mapping[int, list[tuple[str, int]]]]

_sources: list[LiveEndpoints] = []


def register_live_endpoints(source: LiveEndpoints) -> None:
    """`source` maps ids of models to their endpoints that are not stopped: (endpoint name, version id) each."""
    _sources.append(source)


def live_endpoints(model_ids: Collection[int]) -> dict[int, list[tuple[str, int]]]:
    """For each of these models the endpoints that are not stopped; models without one are left out."""
    found: dict[int, list[tuple[str, int]]] = {}
    for source in _sources:
        for model_id, endpoints in source(model_ids).items():
            found.setdefault(model_id, []).extend(endpoints)
    return found
