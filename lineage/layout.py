"""Where the nodes of a graph stand on the page: columns from left to right, equals folded into one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lineage.graph import Edge, Lineage, Node

WIDTH, HEIGHT = 200, 46  # of a box, in pixels
COLUMN, ROW = 280, 60
MARGIN = 20
FOLDED = 5  # equals from which on they are one box


@dataclass(frozen=True)
class Box:
    """A node, or several that are alike: `node` is the first of `members`."""

    id: str
    node: Node
    members: tuple[Node, ...]
    x: int
    y: int
    is_center: bool

    @property
    def folded(self) -> bool:
        return len(self.members) > 1

    @property
    def left_out(self) -> int:
        return sum(count for _, _, count in self.node.more) if not self.folded else 0


@dataclass(frozen=True)
class Line:
    """An edge between two boxes as an SVG path."""

    origin: str
    target: str
    relation: str
    path: str


@dataclass(frozen=True)
class Drawing:
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: int


def drawing_of(graph: Lineage, unfolded: Iterable[str] = ()) -> Drawing:
    """The graph with like nodes folded, but for those groups whose first node is among `unfolded`."""
    nodes = {node.id: node for node in graph.nodes}
    columns = _columns(nodes, graph.edges)
    group_of = _folded(graph, columns, set(unfolded))
    members: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        members[group_of[node.id]].append(node)
    edges = sorted({(group_of[e.origin], group_of[e.target], e.relation) for e in graph.edges})
    places = _places(members, columns, edges)
    boxes = tuple(
        Box(name, nodes[name], tuple(each), *places[name], any(node.id in graph.center for node in each))
        for name, each in members.items()
    )
    lines = tuple(Line(a, b, relation, _path(places[a], places[b])) for a, b, relation in edges if a != b)
    width = max((box.x for box in boxes), default=0) + WIDTH + MARGIN
    height = max((box.y for box in boxes), default=0) + HEIGHT + MARGIN
    return Drawing(boxes, lines, width, height)


def _columns(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> dict[str, int]:
    """The longest way from a beginning to each node: edges then lead to the right."""
    after: dict[str, list[str]] = defaultdict(list)
    waits = dict.fromkeys(nodes, 0)
    for edge in edges:
        after[edge.origin].append(edge.target)
        waits[edge.target] += 1
    columns = dict.fromkeys(nodes, 0)
    ready = [name for name, count in waits.items() if not count]
    while ready:
        name = ready.pop()
        for target in after[name]:
            columns[target] = max(columns[target], columns[name] + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    return _closer(columns, after)


def _closer(columns: dict[str, int], after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """What only leads on moves to the right, next to what it led to."""
    for name in sorted(columns, key=lambda each: -columns[each]):
        if after.get(name):
            columns[name] = max(columns[name], min(columns[target] for target in after[name]) - 1)
    return columns


def _folded(graph: Lineage, columns: Mapping[str, int], unfolded: set[str]) -> dict[str, str]:
    """Each node's group, named by its first member: of one kind, from the same groups; beginnings, to the same nodes."""
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for edge in graph.edges:
        before[edge.target].append(edge.origin)
        after[edge.origin].append(edge.target)
    group_of: dict[str, str] = {}
    for column in sorted(set(columns.values())):
        alike: dict[object, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            if columns[node.id] == column:
                origins = frozenset(group_of[each] for each in before[node.id])
                ends = frozenset() if origins else frozenset(after[node.id])
                alone = node.id if node.id in graph.center else ""
                leads = bool(after[node.id])
                alike[node.kind, origins, ends, leads, node.deleted, alone].append(node)
        for nodes in alike.values():
            fold = len(nodes) >= FOLDED and not unfolded & {node.id for node in nodes}
            for node in nodes:
                group_of[node.id] = nodes[0].id if fold else node.id
    return group_of


def _places(
    members: Mapping[str, Sequence[Node]], columns: Mapping[str, int], edges: Sequence[tuple[str, str, str]]
) -> dict[str, tuple[int, int]]:
    """Left upper corners: in each column in the order of the mean place of what leads there."""
    before: dict[str, list[str]] = defaultdict(list)
    for origin, target, _ in edges:
        before[target].append(origin)
    shift = min((columns[name] for name in members), default=0)
    by_column: dict[int, list[str]] = defaultdict(list)
    for name in members:
        by_column[columns[name] - shift].append(name)
    rows: dict[str, float] = {}
    for column in sorted(by_column):
        names = by_column[column]
        mean = {n: sum(rows.get(o, 0) for o in before[n]) / len(before[n]) if before[n] else 0 for n in names}
        names.sort(key=lambda name: (mean[name], members[name][0].kind, _natural(members[name][0].name)))
        for row, name in enumerate(names):
            rows[name] = row
    tallest = max((len(names) for names in by_column.values()), default=0)
    return {
        name: (MARGIN + column * COLUMN, MARGIN + int((row + (tallest - len(names)) / 2) * ROW))
        for column, names in by_column.items()
        for row, name in enumerate(names)
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """Its order among names: v9 stands before v10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d{1,18})", name)]


def _path(origin: tuple[int, int], target: tuple[int, int]) -> str:
    """A curve from the right side of one box to the left side of another."""
    x1, y1 = origin[0] + WIDTH, origin[1] + HEIGHT // 2
    x2, y2 = target[0], target[1] + HEIGHT // 2
    bend = max((x2 - x1) // 2, 30)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
