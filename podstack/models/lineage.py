"""Where things come from, and what depends on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podstack.models.base import Answer, many, parsed


@dataclass(frozen=True, kw_only=True)
class LineageNode(Answer):
    """One thing in a graph. `left_out`: {"direction", "kind", "count"} of neighbours that are not in it."""

    id: str = ""
    kind: str = ""
    name: str = ""
    status: str = ""
    deleted: bool = False
    url: str = ""
    left_out: tuple[Mapping[str, Any], ...] = parsed(tuple, ())


@dataclass(frozen=True, kw_only=True)
class LineageEdge(Answer):
    """`origin` led to `target`: both are ids of nodes."""

    origin: str = ""
    target: str = ""
    relation: str = ""


def _edges(items: Sequence[Mapping[str, Any]]) -> tuple[LineageEdge, ...]:
    return tuple(
        LineageEdge(origin=item["from"], target=item["to"], relation=item["relation"]) for item in items
    )


@dataclass(frozen=True, kw_only=True)
class Lineage(Answer):
    """A graph; `center` are the ids of what was asked for."""

    center: tuple[str, ...] = parsed(tuple, ())
    nodes: tuple[LineageNode, ...] = many(LineageNode)
    edges: tuple[LineageEdge, ...] = parsed(_edges, ())
    truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class Owner(Answer):
    """How many of the versions and endpoints are this person's."""

    username: str = ""
    versions: int = 0
    endpoints: int = 0


@dataclass(frozen=True, kw_only=True)
class Impact(Answer):
    """What depends on `of`: the lists hold 500 each, `counts` all (versions, aliases, endpoints, runs)."""

    of: tuple[LineageNode, ...] = many(LineageNode)
    counts: Mapping[str, int] = parsed(dict, None)
    versions: tuple[LineageNode, ...] = many(LineageNode)
    aliases: tuple[LineageNode, ...] = many(LineageNode)
    endpoints: tuple[LineageNode, ...] = many(LineageNode)
    owners: tuple[Owner, ...] = many(Owner)
    truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class Quarantine(Answer):
    """Which versions were moved, as name/number, and how many stayed as they were."""

    versions: tuple[str, ...] = parsed(tuple, ())
    untouched: int = 0


@dataclass(frozen=True, kw_only=True)
class Recipe(Answer):
    """What is needed to make a version again. `why_not` says why run_again is not possible, "" where it is."""

    run_id: str | None = None
    training_code: int | None = None
    code_digest: str | None = None
    code_version: str = ""
    git_url: str = ""
    git_path: str = ""
    command: tuple[str, ...] = parsed(tuple, ())
    configuration: Mapping[str, Any] = parsed(dict, None)
    parameters: Mapping[str, Any] = parsed(dict, None)
    datasets: tuple[Mapping[str, Any], ...] = parsed(tuple, ())
    inputs: tuple[Mapping[str, Any], ...] = parsed(tuple, ())
    environment: Mapping[str, Any] = parsed(dict, None)
    why_not: str = ""
