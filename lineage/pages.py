"""Which page of the portal a node has."""

from __future__ import annotations

from lineage.graph import Node

PAGES: dict[str, tuple[str, int]] = {
    # the page, and how many words of the node's key find it
    "dataset": ("lineage:dataset", 1),
    "experiment": ("tracking:experiment", 1),
    "code": ("scheduling:code", 1),
    "execution": ("scheduling:execution", 1),
    "run": ("tracking:run", 1),
    "version": ("registry:version", 2),
    "alias": ("registry:model", 1),
    "revision": ("deployments:detail", 1),
    "endpoint": ("deployments:detail", 1),
}


def page_of(node: Node) -> tuple[str, tuple[str | int, ...]] | None:
    """The page's URL name and what fills it in after the project; None for what was deleted."""
    name, words = PAGES[node.kind]
    return None if node.deleted else (name, node.key[:words])
