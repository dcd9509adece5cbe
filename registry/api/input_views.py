"""The REST door of what runs started from."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from registry.inputs import use_model
from registry.models import RunInput
from tracking.queries import find_run


class RunInputSerializer(serializers.Serializer):
    """A version that a run started from. `ref` is what it was asked for by."""

    model_name = serializers.CharField(source="version.model.name")
    version = serializers.IntegerField(source="version.number")
    ref = serializers.CharField()
    created_at = serializers.DateTimeField()


class RunInputInput(serializers.Serializer):
    model_name = serializers.CharField(max_length=200)
    version = serializers.CharField(max_length=64)


class RunInputsView(ProjectView):
    @extend_schema(
        operation_id="list_run_inputs",
        summary="The versions that a run started from",
        responses=RunInputSerializer(many=True),
    )
    def get(self, request: Request, project: str, run_id: str) -> Response:
        rows = RunInput.objects.filter(run=find_run(self.project, run_id)).select_related("version__model")
        return self.page(rows, RunInputSerializer, ("id",))

    @extend_schema(
        operation_id="use_model",
        summary="Record that a run starts from a version",
        request=RunInputInput,
        responses={201: RunInputSerializer},
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        about: dict[str, Any] = {"actor": self.actor, "project": self.project, "run_id": run_id}
        row = use_model(**about, **self.data(RunInputInput))
        return Response(RunInputSerializer(row).data, status=201)
