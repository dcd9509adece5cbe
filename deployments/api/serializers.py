"""Endpoints as JSON."""

from __future__ import annotations

from rest_framework import serializers

from common.api.fields import VersionRefField
from common.links import absolute
from deployments.choices import EndpointState, RevisionState, Wanted
from deployments.models import Deployment
from deployments.services import endpoint_url
from registry.quarantine import REASON_LENGTH


class ShadowSerializer(serializers.Serializer):
    """The revision that gets copies of the requests."""

    revision = serializers.IntegerField(source="number")
    version = serializers.IntegerField(source="version.number")
    state = serializers.ChoiceField(choices=RevisionState.choices)
    reason = serializers.CharField()


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
    idle_seconds = serializers.IntegerField(source="wanted_revision.idle_seconds")
    max_batch_size = serializers.IntegerField(source="wanted_revision.max_batch_size")
    max_delay_ms = serializers.IntegerField(source="wanted_revision.max_delay_ms")
    rollout = serializers.DictField()
    canary_percent = serializers.IntegerField()
    follows = serializers.CharField()
    engine = serializers.CharField()
    rate_limit = serializers.IntegerField(allow_null=True)
    timeout_seconds = serializers.IntegerField()
    max_body_bytes = serializers.IntegerField(allow_null=True)
    replicas = serializers.SerializerMethodField()
    ready_replicas = serializers.SerializerMethodField()
    shadow = ShadowSerializer(source="shadow_revision", allow_null=True, default=None)
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

    def get_replicas(self, deployment: Deployment) -> int:
        revision = deployment.serving_revision or deployment.wanted_revision
        return revision.replicas if revision and deployment.wanted == Wanted.RUNNING else 0

    def get_ready_replicas(self, deployment: Deployment) -> int:
        revision = deployment.serving_revision or deployment.wanted_revision
        return revision.ready_replicas if revision else 0

    def get_endpoint_url(self, deployment: Deployment) -> str:
        return endpoint_url(deployment)

    def get_url(self, deployment: Deployment) -> str:
        return absolute("deployments:detail", deployment.project.slug, deployment.endpoint_name)


VERSION_HELP = 'a number, "v3", "latest", or an alias, which the endpoint then follows'


class WishesInput(serializers.Serializer):
    """Settings of an endpoint; what is left out stays, or has its default."""

    follow = serializers.BooleanField(
        required=False,
        allow_null=True,
        default=None,
        help_text="false: an alias is read once and not followed",
    )
    gpu_type = serializers.CharField(required=False, allow_blank=True, max_length=200)
    min_replicas = serializers.IntegerField(required=False, help_text="0: sleeps while nobody asks")
    max_replicas = serializers.IntegerField(required=False)
    idle_seconds = serializers.IntegerField(required=False, help_text="without requests, until it sleeps")
    max_batch_size = serializers.IntegerField(
        required=False, help_text="rows joined to one call of the model"
    )
    max_delay_ms = serializers.IntegerField(
        required=False, help_text="that a request waits for others at most"
    )
    rollout = serializers.DictField(
        required=False,
        help_text="{}: all traffic moves at once; "
        '{"steps": [10, 50], "bake_seconds": 60, "max_error_rate": 0.05, "max_p95_ms": 500}: a canary; '
        '{"replace": true}: what serves ends before the new revision starts',
    )
    engine = serializers.CharField(required=False, allow_blank=True, max_length=200, help_text="local or ray")
    rate_limit = serializers.IntegerField(required=False, allow_null=True, help_text="requests a second")
    timeout_seconds = serializers.IntegerField(required=False)
    max_body_bytes = serializers.IntegerField(required=False, allow_null=True)


class DeploymentInput(WishesInput):
    model_name = serializers.CharField(max_length=200)
    version = VersionRefField(help_text=VERSION_HELP)
    endpoint_name = serializers.CharField(max_length=200, trim_whitespace=False)
    description = serializers.CharField(
        default="", allow_blank=True, max_length=20_000, trim_whitespace=False
    )


class DeploymentChange(WishesInput):
    version = VersionRefField(required=False, help_text=VERSION_HELP)
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=20_000, trim_whitespace=False
    )


class DeploymentRollbackInput(serializers.Serializer):
    revision = serializers.IntegerField(
        required=False, allow_null=True, default=None, help_text="left out: the last that served before"
    )


class ShadowInput(serializers.Serializer):
    version = VersionRefField(help_text='a number, "v3", "latest" or an alias')


class RevisionSerializer(serializers.Serializer):
    """One combination of version and settings that was asked for."""

    revision = serializers.IntegerField(source="number")
    version = serializers.IntegerField(source="version.number")
    state = serializers.ChoiceField(choices=RevisionState.choices)
    reason = serializers.CharField()
    is_shadow = serializers.BooleanField()
    gpu_type = serializers.CharField()
    min_replicas = serializers.IntegerField()
    max_replicas = serializers.IntegerField()
    rollout = serializers.DictField()
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()
    active_at = serializers.DateTimeField(allow_null=True)


class CountsSerializer(serializers.Serializer):
    """Requests of some time. `refused` were answered 4xx, `unfit` of them by the model itself, `errors` 5xx or not at all.

    Latencies are in milliseconds.
    """

    requests = serializers.IntegerField()
    refused = serializers.IntegerField()
    unfit = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]
    error_rate = serializers.FloatField()
    mean_ms = serializers.FloatField(allow_null=True)
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class RevisionCountsSerializer(serializers.Serializer):
    """What one revision answered; of copies, `agreed` and `differed` were compared with what was returned."""

    revision = serializers.IntegerField()
    version = serializers.IntegerField()
    shadow = serializers.BooleanField()
    counts = CountsSerializer()
    agreed = serializers.IntegerField(source="counts.agreed")
    differed = serializers.IntegerField(source="counts.differed")


class TrafficPointSerializer(serializers.Serializer):
    at = serializers.DateTimeField()
    counts = CountsSerializer()


class ReplicaPointSerializer(serializers.Serializer):
    at = serializers.DateTimeField()
    wanted = serializers.IntegerField()
    ready = serializers.IntegerField()


class DeploymentMetricsSerializer(serializers.Serializer):
    """An endpoint's traffic: in all, by revision, over time. `uptime` is a share, null while nothing is known."""

    hours = serializers.IntegerField()
    step_seconds = serializers.IntegerField()
    requests_per_second = serializers.FloatField()
    uptime = serializers.FloatField(allow_null=True)
    counts = CountsSerializer()
    revisions = RevisionCountsSerializer(many=True)
    series = TrafficPointSerializer(many=True)
    replicas = ReplicaPointSerializer(many=True)


class GpuTypeSerializer(serializers.Serializer):
    """`is_there`: whether the engine has one now; null when it cannot be asked."""

    name = serializers.CharField()
    is_there = serializers.BooleanField(allow_null=True)


class GpuTypesSerializer(serializers.Serializer):
    """All GPU types, in the order of the settings."""

    results = GpuTypeSerializer(many=True)


class EventSerializer(serializers.Serializer):
    """What happened to an endpoint, one sentence."""

    at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=EndpointState.choices)
    message = serializers.CharField()
    revision = serializers.IntegerField(source="revision.number", default=None, allow_null=True)


class LogsSerializer(serializers.Serializer):
    """The last lines that the endpoint's processes wrote, oldest first."""

    lines = serializers.ListField(child=serializers.CharField())


class QuarantineInput(serializers.Serializer):
    reason = serializers.CharField(max_length=REASON_LENGTH)
    endpoints = serializers.CharField(
        required=False,
        allow_null=True,
        default=None,
        max_length=20,
        help_text="keep or undeploy those that serve such a version; needed when one does",
    )
