"""The REST door for versions that travel: into another project, and between servers."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from registry import copies
from registry.api.serializers import VersionSerializer
from registry.api.views import RegistryView
from registry.models import ModelVersion


class CopyInput(serializers.Serializer):
    to_project = serializers.CharField(max_length=63, help_text="the other project's slug")
    to_model = serializers.CharField(max_length=200, required=False, help_text="else the model's own name")
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=20_000, trim_whitespace=False
    )


def version_response(version: ModelVersion) -> Response:
    """201 with the new version as its own address shows it."""
    shown = ModelVersion.objects.with_details().get(pk=version.pk)
    return Response(VersionSerializer(shown).data, status=201)


class CopyView(RegistryView):
    @extend_schema(
        operation_id="copy_version",
        summary="Copy a version into another project, or to another model",
        request=CopyInput,
        responses={201: VersionSerializer},
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> Response:
        return version_response(copies.copy_version(**self.where, **self.data(CopyInput)))
