"""A lineage graph as JSON."""

from __future__ import annotations

from rest_framework import serializers

from common.links import absolute
from lineage.queries import Node

KINDS = ("dataset", "experiment", "run", "version", "alias", "endpoint")
PAGES = {
    "experiment": "tracking:experiment",
    "run": "tracking:run",
    "version": "registry:version",
    "alias": "registry:version",
    "endpoint": "deployments:detail",
}


class NodeSerializer(serializers.Serializer):
    """One thing. `project` comes by context: its slug. `url` is "" for what has no page."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=KINDS)
    name = serializers.CharField()
    status = serializers.CharField()
    url = serializers.SerializerMethodField()

    def get_url(self, node: Node) -> str:
        page = PAGES.get(node.kind)
        return absolute(page, self.context["project"], *node.key) if page else ""


class EdgeSerializer(serializers.Serializer):
    """`from` and `to` are ids of nodes."""

    to = serializers.CharField(source="target")
    relation = serializers.CharField()

    def get_fields(self) -> dict[str, serializers.Field]:
        # "from" is a word of Python's own.
        return {"from": serializers.CharField(source="origin"), **super().get_fields()}


class LineageSerializer(serializers.Serializer):
    nodes = NodeSerializer(many=True)
    edges = EdgeSerializer(many=True)
