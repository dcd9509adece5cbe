"""Lineage, impact and recipes as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.links import absolute
from deployments.api.serializers import QuarantineInput
from lineage.graph import Node
from lineage.links import KINDS
from lineage.pages import page_of
from lineage.services import MESSAGE_LENGTH


class LeftOutSerializer(serializers.Serializer):
    """Neighbours that are not in the graph; 1001 stands for more than a thousand."""

    direction = serializers.CharField()
    kind = serializers.CharField()
    count = serializers.IntegerField()


class NodeSerializer(serializers.Serializer):
    """One thing. `project` comes by context: its slug. `url` is "" for what has no page any more."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=KINDS)
    name = serializers.CharField()
    status = serializers.CharField()
    deleted = serializers.BooleanField()
    url = serializers.SerializerMethodField()
    left_out = serializers.SerializerMethodField()

    def get_url(self, node: Node) -> str:
        page = page_of(node)
        return absolute(page[0], self.context["project"], *page[1]) if page else ""

    def get_left_out(self, node: Node) -> list[dict[str, Any]]:
        return [{"direction": way, "kind": kind, "count": count} for way, kind, count in node.more]


class EdgeSerializer(serializers.Serializer):
    """`from` led to `to`: both are ids of nodes."""

    to = serializers.CharField(source="target")
    relation = serializers.CharField()

    def get_fields(self) -> dict[str, serializers.Field]:
        # "from" is a word of Python's own.
        return {"from": serializers.CharField(source="origin"), **super().get_fields()}


class LineageSerializer(serializers.Serializer):
    center = serializers.ListField(child=serializers.CharField())
    nodes = NodeSerializer(many=True)
    edges = EdgeSerializer(many=True)
    truncated = serializers.BooleanField()


class OwnerSerializer(serializers.Serializer):
    username = serializers.CharField()
    versions = serializers.IntegerField()
    endpoints = serializers.IntegerField()


class ImpactSerializer(serializers.Serializer):
    """What depends on `of`: the lists hold 500 each, the counts all."""

    of = NodeSerializer(many=True)
    counts = serializers.DictField(child=serializers.IntegerField())
    versions = NodeSerializer(many=True)
    aliases = NodeSerializer(many=True)
    endpoints = NodeSerializer(many=True)
    owners = OwnerSerializer(many=True)
    truncated = serializers.BooleanField()


class NodeInput(serializers.Serializer):
    node = serializers.CharField(max_length=400)


class NotifyInput(NodeInput):
    message = serializers.CharField(max_length=MESSAGE_LENGTH)


class QuarantineImpactInput(NodeInput, QuarantineInput):
    pass


class NotifiedSerializer(serializers.Serializer):
    notified = serializers.ListField(child=serializers.CharField())


class QuarantineSerializer(serializers.Serializer):
    """Which versions were moved, and how many stayed as they were."""

    versions = serializers.ListField(child=serializers.CharField())
    untouched = serializers.IntegerField()


class EventsSerializer(serializers.Serializer):
    """OpenLineage run events."""

    events = serializers.ListField(child=serializers.DictField())


class RecipeDatasetSerializer(serializers.Serializer):
    name = serializers.CharField(source="dataset.name")
    path = serializers.CharField(source="dataset.path")
    digest = serializers.CharField(source="dataset.digest")
    use = serializers.CharField(source="context")


class RecipeInputSerializer(serializers.Serializer):
    model_name = serializers.CharField(source="version.model.name")
    version = serializers.IntegerField(source="version.number")


class RecipeSerializer(serializers.Serializer):
    """What is needed to make a version again. `why_not` says why Run again is not possible, "" where it is."""

    run_id = serializers.CharField(source="run.public_id", default=None, allow_null=True)
    training_code = serializers.IntegerField(source="code.number", default=None, allow_null=True)
    code_digest = serializers.CharField(source="code.manifest.digest", default=None, allow_null=True)
    code_version = serializers.CharField()
    git_url = serializers.CharField(source="code.git_url", default="")
    git_path = serializers.CharField(source="code.git_path", default="")
    command = serializers.ListField(child=serializers.CharField())
    configuration = serializers.JSONField()
    parameters = serializers.JSONField()
    datasets = RecipeDatasetSerializer(many=True)
    inputs = RecipeInputSerializer(many=True)
    environment = serializers.JSONField()
    why_not = serializers.CharField()
