"""Endpoints as JSON."""

from __future__ import annotations

from rest_framework import serializers

from common.api.fields import VersionRefField
from common.links import absolute
from deployments.choices import EndpointState
from deployments.models import Deployment
from deployments.services import endpoint_url


class DeploymentSerializer(serializers.Serializer):
    """An endpoint. Version and settings are the wanted ones; `serving_version` is what answers now."""

    endpoint_name = serializers.CharField()
    model_name = serializers.CharField(source="model.name")
    version = serializers.IntegerField(source="wanted_revision.version.number")
    serving_version = serializers.IntegerField(
        source="serving_revision.version.number", default=None, allow_null=True
    )
    gpu_type = serializers.CharField(source="wanted_revision.gpu_type")
    min_replicas = serializers.IntegerField(source="wanted_revision.min_replicas")
    max_replicas = serializers.IntegerField(source="wanted_revision.max_replicas")
    description = serializers.CharField()
    state = serializers.ChoiceField(choices=EndpointState.choices)
    reason = serializers.CharField()
    warnings = serializers.ListField(child=serializers.CharField())
    endpoint_url = serializers.SerializerMethodField()
    revision = serializers.IntegerField(source="wanted_revision.number")
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    url = serializers.SerializerMethodField()

    def get_endpoint_url(self, deployment: Deployment) -> str:
        return endpoint_url(deployment)

    def get_url(self, deployment: Deployment) -> str:
        return absolute("deployments:detail", deployment.project.slug, deployment.endpoint_name)


class DeploymentInput(serializers.Serializer):
    model_name = serializers.CharField(max_length=200)
    version = VersionRefField(help_text='a number, "v3", "latest" or an alias')
    endpoint_name = serializers.CharField(max_length=200, trim_whitespace=False)
    gpu_type = serializers.CharField(default="", allow_blank=True, max_length=200)
    min_replicas = serializers.IntegerField(default=1)
    max_replicas = serializers.IntegerField(default=1)
    description = serializers.CharField(
        default="", allow_blank=True, max_length=20_000, trim_whitespace=False
    )


class DeploymentChange(serializers.Serializer):
    version = VersionRefField(required=False, help_text='a number, "v3", "latest" or an alias')
    gpu_type = serializers.CharField(required=False, allow_blank=True, max_length=200)
    min_replicas = serializers.IntegerField(required=False)
    max_replicas = serializers.IntegerField(required=False)
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=20_000, trim_whitespace=False
    )


class EventSerializer(serializers.Serializer):
    """What happened to an endpoint, one sentence."""

    at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=EndpointState.choices)
    message = serializers.CharField()
    revision = serializers.IntegerField(source="revision.number", default=None, allow_null=True)


class LogsSerializer(serializers.Serializer):
    """The last lines that the endpoint's processes wrote, oldest first."""

    lines = serializers.ListField(child=serializers.CharField())
