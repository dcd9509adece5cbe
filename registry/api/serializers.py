"""Models and versions as JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from artifacts.api.serializers import FileSerializer
from common.api.fields import NUMBER_SCHEMA, VersionRefField
from common.checks import plain_number
from common.links import absolute
from registry.choices import Stage, VersionStatus
from registry.models import AliasMove, ModelVersion, RegisteredModel, StageTransition

NUMBERS = {"type": "object", "additionalProperties": NUMBER_SCHEMA}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SCALARS = {"type": "object", "additionalProperties": {}}


class StagedVersionSerializer(serializers.Serializer):
    version = serializers.IntegerField(source="number")
    stage = serializers.ChoiceField(choices=Stage.choices)


class NumberedVersionSerializer(serializers.Serializer):
    version = serializers.IntegerField()


class ModelSerializer(serializers.Serializer):
    """A registered model. `live_endpoints` comes by context: {model id: [(endpoint, version id)]}."""

    name = serializers.CharField()
    description = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    latest_version = StagedVersionSerializer(allow_null=True)
    production_version = serializers.SerializerMethodField()
    version_count = serializers.IntegerField()
    aliases = serializers.SerializerMethodField()
    live_endpoints = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    url = serializers.SerializerMethodField()

    @extend_schema_field(NumberedVersionSerializer(allow_null=True))
    def get_production_version(self, model: Any) -> dict[str, int] | None:
        number = model.production_number
        return {"version": number} if number else None

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "integer"}})
    def get_aliases(self, model: RegisteredModel) -> dict[str, int]:
        return {alias.name: alias.version.number for alias in model.aliases.all()}

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_live_endpoints(self, model: RegisteredModel) -> list[str]:
        return sorted({name for name, _ in self.context["live_endpoints"].get(model.pk, [])})

    def get_url(self, model: RegisteredModel) -> str:
        return absolute("registry:model", model.project.slug, model.name)


class ModelInput(serializers.Serializer):
    name = serializers.CharField(max_length=200)
    description = serializers.CharField(
        default="", allow_blank=True, max_length=20_000, trim_whitespace=False
    )
    tags = serializers.ListField(child=serializers.CharField(max_length=64), default=list)


class ModelChange(serializers.Serializer):
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=20_000, trim_whitespace=False
    )
    tags = serializers.ListField(child=serializers.CharField(max_length=64), required=False)


class VersionSerializer(serializers.Serializer):
    """A model version."""

    model_name = serializers.CharField(source="model.name")
    version = serializers.IntegerField(source="number")
    stage = serializers.ChoiceField(choices=Stage.choices)
    status = serializers.ChoiceField(choices=VersionStatus.choices)
    status_reason = serializers.CharField()
    description = serializers.CharField()
    source_run_id = serializers.CharField(source="source_run.public_id", allow_null=True)
    experiment_id = serializers.CharField(source="source_run.experiment.public_id", allow_null=True)
    experiment_name = serializers.CharField(source="source_run.experiment.name", allow_null=True)
    artifact_path = serializers.CharField()
    manifest_digest = serializers.CharField(source="manifest.digest")
    file_count = serializers.IntegerField(source="manifest.file_count")
    size = serializers.IntegerField(source="manifest.total_size", help_text="bytes")
    format = serializers.CharField()
    framework = serializers.CharField()
    servable = serializers.BooleanField()
    servable_reason = serializers.CharField()
    metrics = serializers.SerializerMethodField()
    params = serializers.SerializerMethodField()
    tags = serializers.SerializerMethodField()
    aliases = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by.username")
    created_by_door = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    url = serializers.SerializerMethodField()

    @extend_schema_field(NUMBERS)
    def get_metrics(self, version: ModelVersion) -> dict[str, float | str]:
        return {row.key: plain_number(row.value) for row in version.metrics.all()}

    @extend_schema_field(SCALARS)
    def get_params(self, version: ModelVersion) -> dict[str, Any]:
        return {row.key: row.value for row in version.params.all()}

    @extend_schema_field(TEXTS)
    def get_tags(self, version: ModelVersion) -> dict[str, str]:
        return {row.key: row.value for row in version.tags.all()}

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_aliases(self, version: ModelVersion) -> list[str]:
        return [alias.name for alias in version.aliases.all()]

    def get_url(self, version: ModelVersion) -> str:
        model = version.model
        return absolute("registry:version", model.project.slug, model.name, version.number)


class VersionInput(serializers.Serializer):
    source_run_id = serializers.CharField(max_length=40)
    artifact_path = serializers.CharField(max_length=1024, trim_whitespace=False)
    description = serializers.CharField(
        default="", allow_blank=True, max_length=20_000, trim_whitespace=False
    )
    tags = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=5000, trim_whitespace=False), default=dict
    )


class VersionChange(serializers.Serializer):
    description = serializers.CharField(allow_blank=True, max_length=20_000, trim_whitespace=False)


class TagInput(serializers.Serializer):
    value = serializers.CharField(allow_blank=True, max_length=5000, trim_whitespace=False)


class TagSerializer(serializers.Serializer):
    key = serializers.CharField()
    value = serializers.CharField()


class TransitionSerializer(serializers.Serializer):
    """One move between stages, done ("applied")."""

    status = serializers.SerializerMethodField()
    model_name = serializers.CharField(source="version.model.name")
    version = serializers.IntegerField(source="version.number")
    from_stage = serializers.ChoiceField(choices=Stage.choices)
    to_stage = serializers.ChoiceField(choices=Stage.choices)
    note = serializers.CharField()
    actor = serializers.CharField(source="actor.username")
    door = serializers.CharField()
    created_at = serializers.DateTimeField()
    approval = serializers.SerializerMethodField()

    @extend_schema_field({"type": "string", "enum": ["applied", "pending_approval"]})
    def get_status(self, transition: StageTransition) -> str:
        return "applied"

    @extend_schema_field({"type": "object", "nullable": True})
    def get_approval(self, transition: StageTransition) -> None:
        return None


class AliasSerializer(serializers.Serializer):
    alias = serializers.CharField(source="name")
    version = serializers.IntegerField(source="version.number")
    updated_at = serializers.DateTimeField()


class AliasInput(serializers.Serializer):
    version = VersionRefField(help_text='a number, "v3", "latest" or another alias')


class AliasMoveSerializer(serializers.Serializer):
    alias = serializers.CharField(source="name")
    from_version = serializers.SerializerMethodField()
    to_version = serializers.SerializerMethodField()
    actor = serializers.CharField(source="actor.username")
    door = serializers.CharField()
    created_at = serializers.DateTimeField()

    def get_from_version(self, move: AliasMove) -> int | None:
        return move.from_version.number if move.from_version else None

    def get_to_version(self, move: AliasMove) -> int | None:
        return move.to_version.number if move.to_version else None


class FilesSerializer(serializers.Serializer):
    """All files of a version, by path."""

    manifest_digest = serializers.CharField(source="digest")
    files = FileSerializer(many=True)


class RowSerializer(serializers.Serializer):
    key = serializers.CharField()
    values = serializers.SerializerMethodField()
    differs = serializers.BooleanField()

    @extend_schema_field({"type": "array", "items": {}})
    def get_values(self, row: Any) -> list[Any]:
        return [plain_number(v) if isinstance(v, float) else v for v in row.values]


class MetricRowSerializer(RowSerializer):
    differences = serializers.ListField(
        child=serializers.FloatField(allow_null=True), help_text="to the first version's value"
    )


class ComparisonSerializer(serializers.Serializer):
    """Versions side by side, values in the order of `versions`."""

    versions = VersionSerializer(many=True)
    metrics = MetricRowSerializer(many=True)
    params = RowSerializer(many=True)
    tags = RowSerializer(many=True)


class ReleaseInput(serializers.Serializer):
    note = serializers.CharField(max_length=2000)
