"""The REST door of approvals: moving a stage."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from approvals import services
from registry.api.serializers import TransitionSerializer


class TransitionInput(serializers.Serializer):
    stage = serializers.CharField(max_length=40, help_text="None, Staging, Production or Archived")
    note = serializers.CharField(default="", allow_blank=True, max_length=5000, trim_whitespace=False)


class TransitionView(ProjectView):
    @extend_schema(
        operation_id="transition_stage",
        summary="Move a version to another stage",
        request=TransitionInput,
        responses=TransitionSerializer,
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> Response:
        moved = services.transition_stage(
            actor=self.actor, project=self.project, model_name=name, ref=ref, **self.data(TransitionInput)
        )
        return Response(TransitionSerializer(moved).data)
