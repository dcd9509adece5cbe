"""Where a version came from, and what depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from deployments.models import Deployment
from registry.models import Alias, ModelVersion
from tracking.models import Run, RunDataset


@dataclass(frozen=True)
class Node:
    """One thing in the graph. `id` is unique in it; `name` is what people call it; `status` may be "".

    `key` is what finds its page: (), (experiment id,), (run id,), (model, number) or (endpoint name,).
    """

    id: str
    kind: str
    name: str
    status: str
    key: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Edge:
    """`origin` has `relation` to `target`: both are ids of nodes."""

    origin: str
    target: str
    relation: str


@dataclass(frozen=True)
class Lineage:
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def version_lineage(version: ModelVersion) -> Lineage:
    """Data sets, experiment and run that `version` came from; aliases and endpoints that use it."""
    center = _version(version)
    run = Run.objects.select_related("experiment", "parent").filter(versions=version).first()
    parts = [Lineage((center,), ()), _aliases(version, center), _endpoints(version, center)]
    if run is not None:
        parts = [_source(run, center), _datasets(run), *parts]
    nodes = [node for part in parts for node in part.nodes]
    return Lineage(tuple(nodes), tuple(edge for part in parts for edge in part.edges))


def _source(run: Run, center: Node) -> Lineage:
    """The run that made the version, its experiment and the run that started it."""
    nodes = [_experiment(run), _run(run)]
    edges = [Edge(nodes[0].id, nodes[1].id, "contains"), Edge(nodes[1].id, center.id, "produced")]
    if run.parent is not None:
        nodes.append(_run(run.parent))
        edges.append(Edge(_run(run.parent).id, _run(run).id, "started"))
    return Lineage(tuple(nodes), tuple(edges))


def _datasets(run: Run) -> Lineage:
    links = RunDataset.objects.filter(run=run).select_related("dataset").order_by("id")
    nodes = {
        link.dataset_id: Node(f"dataset:{link.dataset_id}", "dataset", link.dataset.name, "")
        for link in links
    }
    edges = [Edge(f"dataset:{link.dataset_id}", _run(run).id, link.context or "used by") for link in links]
    return Lineage(tuple(nodes.values()), tuple(edges))


def _aliases(version: ModelVersion, center: Node) -> Lineage:
    names = Alias.objects.filter(version=version).order_by("name").values_list("name", flat=True)
    nodes = tuple(Node(f"alias:{name}", "alias", name, "", center.key) for name in names)
    return Lineage(nodes, tuple(Edge(node.id, center.id, "points to") for node in nodes))


def _endpoints(version: ModelVersion, center: Node) -> Lineage:
    """Endpoints that serve the version, or are to serve it."""
    used = Q(wanted_revision__version=version) | Q(serving_revision__version=version)
    rows = (
        Deployment.objects.alive().filter(used).select_related("serving_revision").order_by("endpoint_name")
    )
    nodes, edges = [], []
    for row in rows:
        name, serving = row.endpoint_name, row.serving_revision
        nodes.append(Node(f"endpoint:{name}", "endpoint", name, row.state, (name,)))
        answers = serving is not None and serving.version_id == version.pk
        edges.append(Edge(center.id, f"endpoint:{name}", "serves" if answers else "deployed to"))
    return Lineage(tuple(nodes), tuple(edges))


def _version(version: ModelVersion) -> Node:
    model = version.model
    return Node(
        f"version:{model.name}/{version.number}",
        "version",
        f"{model.name} v{version.number}",
        version.stage,
        (model.name, version.number),
    )


def _run(run: Run) -> Node:
    return Node(f"run:{run.public_id}", "run", str(run), run.status, (run.public_id,))


def _experiment(run: Run) -> Node:
    found = run.experiment
    return Node(f"experiment:{found.public_id}", "experiment", found.name, "", (found.public_id,))
