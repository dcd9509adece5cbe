"""The REST door of datasets."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from common.checks import check_text, shorten
from common.errors import Invalid
from tracking import datasets
from tracking.datasets import REASON_LENGTH
from tracking.filters import NO, YES


class ProjectDatasetSerializer(serializers.Serializer):
    """Data that runs used. `bad_reason` says why it must not be trusted; "" where nobody said so."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    path = serializers.CharField()
    digest = serializers.CharField()
    description = serializers.CharField()
    run_count = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    is_bad = serializers.SerializerMethodField()
    bad_reason = serializers.CharField()
    bad_by = serializers.CharField(source="bad_by.username", default=None, allow_null=True)
    bad_at = serializers.DateTimeField(allow_null=True)

    def get_is_bad(self, dataset: object) -> bool:
        return getattr(dataset, "bad_at", None) is not None


class MarkInput(serializers.Serializer):
    reason = serializers.CharField(max_length=REASON_LENGTH, trim_whitespace=False)


class DatasetsView(ProjectView):
    @extend_schema(
        operation_id="list_datasets",
        summary="The project's datasets, by name",
        parameters=[
            OpenApiParameter("search", str, description="text in the name"),
            OpenApiParameter(
                "bad", str, enum=["true", "false"], description="those marked bad, or the others"
            ),
        ],
        responses=ProjectDatasetSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        rows = datasets.datasets_in(self.project)
        if search := request.query_params.get("search", ""):
            rows = rows.filter(name__icontains=check_text("search", search, max_length=200))
        if bad := request.query_params.get("bad", ""):
            if bad not in (YES, NO):
                raise Invalid.field("bad", f"bad is {shorten(bad)}; it must be {YES} or {NO}.")
            rows = rows.filter(bad_at__isnull=bad == NO)
        return self.page(rows, ProjectDatasetSerializer, ("name", "id"), also=("search", "bad"))


class DatasetView(ProjectView):
    @extend_schema(operation_id="get_dataset", summary="Read a dataset", responses=ProjectDatasetSerializer)
    def get(self, request: Request, project: str, dataset_id: int) -> Response:
        found = datasets.find_dataset(self.project, dataset_id)
        return Response(ProjectDatasetSerializer(found).data)


class MarkDatasetView(ProjectView):
    @extend_schema(
        operation_id="mark_dataset",
        summary="Say that a dataset is bad, and why",
        request=MarkInput,
        responses=ProjectDatasetSerializer,
    )
    def post(self, request: Request, project: str, dataset_id: int) -> Response:
        about: dict[str, Any] = {"actor": self.actor, "project": self.project, "dataset_id": dataset_id}
        found = datasets.mark_dataset(**about, **self.data(MarkInput))
        return Response(ProjectDatasetSerializer(found).data)


class ClearDatasetView(ProjectView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="clear_dataset",
        summary="Take the mark of a bad dataset away",
        request=None,
        responses=ProjectDatasetSerializer,
    )
    def post(self, request: Request, project: str, dataset_id: int) -> Response:
        found = datasets.clear_dataset(actor=self.actor, project=self.project, dataset_id=dataset_id)
        return Response(ProjectDatasetSerializer(found).data)
