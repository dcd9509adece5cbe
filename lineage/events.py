"""The graph as OpenLineage run events (https://openlineage.io/spec/2-0-2/OpenLineage.json)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from django.conf import settings

from accounts.models import Project
from lineage.graph import Lineage, Node
from tracking.models import Dataset, Run

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
VERSION_FACET = "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json"
ENDS = {"Completed": "COMPLETE", "Failed": "FAIL", "Killed": "ABORT", "Running": "RUNNING"}


def run_events(project: Project, graph: Lineage) -> list[dict[str, Any]]:
    """One event for each run in the graph: what it read, and which versions it made.

    Versions are datasets named `models/<name>/<number>`; a run's id is a UUID made from its address.
    """
    nodes = {node.id: node for node in graph.nodes}
    runs = Run.objects.filter(pk__in=[node.pk for node in graph.nodes if node.kind == "run"])
    digests = dict(
        Dataset.objects.filter(pk__in=[n.pk for n in graph.nodes if n.kind == "dataset"]).values_list(
            "pk", "digest"
        )
    )
    events = []
    for run in runs.select_related("experiment").order_by("pk"):
        own = f"run:{run.public_id}"
        into = [nodes[edge.origin] for edge in graph.edges if edge.target == own]
        out = [nodes[edge.target] for edge in graph.edges if edge.origin == own]
        events.append(
            {
                "eventType": ENDS.get(run.status, "OTHER"),
                "eventTime": (run.ended_at or run.started_at).isoformat(),
                "producer": settings.PUBLIC_URL,
                "schemaURL": SCHEMA,
                "run": {"runId": _uuid(project, run), "facets": {}},
                "job": {"namespace": _namespace(project), "name": run.experiment.name, "facets": {}},
                "inputs": [
                    _dataset(project, node, digests) for node in into if node.kind in ("dataset", "version")
                ],
                "outputs": [_dataset(project, node, digests) for node in out if node.kind == "version"],
            }
        )
    return events


def _uuid(project: Project, run: Run) -> str:
    return str(uuid5(NAMESPACE_URL, f"{settings.PUBLIC_URL}/projects/{project.slug}/runs/{run.public_id}"))


def _namespace(project: Project) -> str:
    return f"{urlsplit(settings.PUBLIC_URL).netloc}/{project.slug}"


def _dataset(project: Project, node: Node, digests: dict[int, str]) -> dict[str, Any]:
    if node.kind == "version":
        return {
            "namespace": _namespace(project),
            "name": f"models/{node.key[0]}/{node.key[1]}",
            "facets": _version_facet(str(node.key[1])),
        }
    return {
        "namespace": _namespace(project),
        "name": node.name,
        "facets": _version_facet(digests.get(node.pk, "")),
    }


def _version_facet(version: str) -> dict[str, Any]:
    if not version:
        return {}
    return {
        "version": {"_producer": settings.PUBLIC_URL, "_schemaURL": VERSION_FACET, "datasetVersion": version}
    }
