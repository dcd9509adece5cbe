"""The REST door to what a worker found in a version's files."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from common.errors import Missing
from registry.api.views import RegistryView
from registry.choices import VersionStatus
from registry.models import Inspection


class InspectionSerializer(serializers.Serializer):
    """What was found in the files, which other versions may have too. `details` is empty for what was found long ago."""

    manifest_digest = serializers.CharField(source="manifest.digest")
    status = serializers.ChoiceField(choices=VersionStatus.choices)
    status_reason = serializers.CharField()
    format = serializers.CharField()
    framework = serializers.CharField()
    servable = serializers.BooleanField()
    servable_reason = serializers.CharField()
    rules = serializers.CharField()
    inspected_at = serializers.DateTimeField(source="created_at")
    details = serializers.DictField(help_text="files, parameters, tensor_bytes, tensors, signature, notes")


class InspectionView(RegistryView):
    @extend_schema(
        operation_id="get_inspection",
        summary="What a worker found in a version's files",
        responses=InspectionSerializer,
    )
    def get(self, request: Request, project: str, name: str, ref: str) -> Response:
        version = self.bare_version
        found = Inspection.objects.filter(manifest=version.manifest_id).select_related("manifest").first()
        if found is None:
            raise Missing(
                f"Nobody has looked at the files of version {version.number} yet.",
                "Try again in a few seconds.",
                code="not_inspected",
            )
        return Response(InspectionSerializer(found).data)
