"""The graph around a thing: what led to it and what came of it, by a fixed number of statements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from accounts.models import Project
from common.checks import check_whole, shorten
from common.errors import Invalid
from lineage.links import ALL_THINGS, KINDS, edges_among, neighbours_counted, steps

DIRECTIONS = ("both", "upstream", "downstream")
USUAL_DEPTH, MOST_DEPTH = 10, 50
USUAL_NODES, MOST_NODES = 500, 2000
EACH = 100  # neighbours of one thing by one kind of edge
MOST_COUNTED = 1001
Thing = tuple[str, int]  # kind and key


@dataclass(frozen=True)
class Node:
    """One thing in the graph. `id` is unique in it; `name` is what people call it; `status` may be "".

    `key` is what finds its page. `deleted`: it is in the trash or gone; its place in the graph stays. `more` says how
    many neighbours of a kind are not in the graph, 1001 standing for more than a thousand.
    """

    id: str
    kind: str
    name: str
    status: str
    key: tuple[str | int, ...] = ()
    deleted: bool = False
    at: datetime | None = None
    pk: int = 0
    more: tuple[tuple[str, str, int], ...] = ()  # direction, kind, count


@dataclass(frozen=True)
class Edge:
    """`origin` led to `target`: both are ids of nodes."""

    origin: str
    target: str
    relation: str


@dataclass(frozen=True)
class Lineage:
    """`center` are the ids of what was asked for. `truncated`: some of what is connected was left out."""

    center: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    truncated: bool = False


def lineage_of(
    project: Project,
    things: Sequence[Thing],
    direction: str = "both",
    depth: int = USUAL_DEPTH,
    nodes: int = USUAL_NODES,
) -> Lineage:
    """The graph around `things`: at most `nodes` nodes, at most `depth` edges away, the nearest first."""
    if direction not in DIRECTIONS:
        raise Invalid.field(
            "direction", f"direction is {shorten(direction)}; it must be one of {', '.join(DIRECTIONS)}."
        )
    check_whole("depth", depth, low=1, high=MOST_DEPTH)
    check_whole("nodes", nodes, low=1, high=MOST_NODES)
    ways = [way for way in ("upstream", "downstream") if direction in ("both", way)]
    found = {way: _walk(things, way == "downstream", depth, nodes) for way in ways}
    near = sorted(
        ((away, thing) for walked in found.values() for thing, away in walked.items()),
        key=lambda each: each[0],
    )
    kept = list(dict.fromkeys(thing for _, thing in near))[:nodes]
    known = described(project, kept)
    edges = _edges(known)
    left = _left_out(known, edges, {way: [t for t in found[way] if t in known] for way in ways})
    return Lineage(
        center=tuple(known[thing].id for thing in things if thing in known),
        nodes=tuple(replace(node, more=left.get(thing, ())) for thing, node in known.items()),
        edges=tuple(Edge(known[a].id, known[b].id, relation) for a, b, relation in edges),
        truncated=bool(left) or len(kept) < len({thing for _, thing in near}),
    )


def _walk(things: Sequence[Thing], downstream: bool, depth: int, nodes: int) -> dict[Thing, int]:
    """Each thing that is reached, with how many edges it is away; it stops when there are enough.

    One thing may be reached at several depths, which the recursion cannot know: hence more rows than nodes.
    """
    statement = f"""
        WITH RECURSIVE walk (kind, id, depth) AS (
            SELECT kind, id, 0 FROM unnest(%s::text[], %s::bigint[]) s (kind, id)
            UNION
            SELECT n.kind, n.id, w.depth + 1 FROM walk w CROSS JOIN LATERAL ({steps(downstream, EACH)}) n
            WHERE w.depth < %s
        )
        SELECT kind, id, depth FROM walk LIMIT %s
    """  # noqa: S608
    kinds, keys = [kind for kind, _ in things], [key for _, key in things]
    with connection.cursor() as cursor:
        cursor.execute(statement, [kinds, keys, depth, nodes * 4])
        found: dict[Thing, int] = {}
        for kind, key, away in cursor:
            found.setdefault((kind, key), away)
            if len(found) > nodes:
                break
    return found


def described(project: Project, things: Iterable[Thing]) -> dict[Thing, Node]:
    """What each of these is called, in the order given; what is not of this project is not there."""
    asked = list(things)
    with connection.cursor() as cursor:
        cursor.execute(ALL_THINGS, {"project": project.pk, **_arrays(asked)})
        rows = {(row[0], row[1]): _node(*row) for row in cursor}
    return {thing: rows[thing] for thing in asked if thing in rows}


def _node(kind: str, pk: int, name: str, status: str, key: Any, deleted: bool, at: datetime) -> Node:
    words = tuple(_json(key))
    mark = f"~{pk}" if deleted and kind in ("endpoint", "revision") else ""  # its name may be another's now
    joined = "@".join(map(str, words)) if kind == "alias" else "/".join(map(str, words))
    return Node(
        f"{kind}:{joined}{mark}", kind, name, "Deleted" if deleted else status, words, deleted, at, pk
    )


def _json(value: Any) -> list[str | int]:
    return list(json.loads(value) if isinstance(value, str) else value)


def _arrays(things: Iterable[Thing]) -> dict[str, list[int]]:
    arrays: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for kind, key in things:
        arrays[kind].append(key)
    return arrays


def _edges(known: dict[Thing, Node]) -> list[tuple[Thing, Thing, str]]:
    with connection.cursor() as cursor:
        cursor.execute(edges_among(), _arrays(known))
        rows = [((row[0], row[1]), (row[2], row[3]), row[4] or "made from") for row in cursor]
    return sorted(set(rows))


def _left_out(
    known: dict[Thing, Node], edges: Sequence[tuple[Thing, Thing, str]], walked: dict[str, list[Thing]]
) -> dict[Thing, tuple[tuple[str, str, int], ...]]:
    """How many neighbours of each kind are not in the graph, in the directions in which they were looked for."""
    left: dict[Thing, list[tuple[str, str, int]]] = {}
    for way, things in walked.items():
        downstream = way == "downstream"
        shown: dict[tuple[Thing, str], int] = {}
        for origin, target in {(origin, target) for origin, target, _ in edges}:
            here, there = (origin, target) if downstream else (target, origin)
            shown[here, there[0]] = shown.get((here, there[0]), 0) + 1
        with connection.cursor() as cursor:
            cursor.execute(neighbours_counted(downstream, MOST_COUNTED), _arrays(things))
            counted: dict[tuple[Thing, str], int] = {}
            for kind, key, other, count in cursor:
                counted[(kind, key), other] = counted.get(((kind, key), other), 0) + count
        for (thing, other), count in counted.items():
            if thing in known and count > shown.get((thing, other), 0):
                missing = count if count >= MOST_COUNTED else count - shown.get((thing, other), 0)
                left.setdefault(thing, []).append((way, other, missing))
    return {thing: tuple(sorted(each)) for thing, each in left.items()}
