"""Models and versions as JSON."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.groups import short_name
from common.api.comparison import FileRowSerializer, MetricRowSerializer, RowSerializer
from common.api.fields import NUMBER_SCHEMA, NumberField, VersionRefField
from registry.answers import version_answers
from registry.choices import Protected, Relation, Stage, VersionStatus
from registry.models import AliasMove, Protection, StageTransition
from registry.queries import Comparison

NUMBERS = {"type": "object", "additionalProperties": NUMBER_SCHEMA}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


@extend_schema_field(NUMBERS)
class NumbersField(serializers.JSONField):
    """Numbers by key; NaN and the infinities as text."""


@extend_schema_field(TEXTS)
class TextsField(serializers.JSONField):
    """Texts by key."""


class StagedVersionSerializer(serializers.Serializer):
    version = serializers.IntegerField()
    stage = serializers.ChoiceField(choices=Stage.choices)


class NumberedVersionSerializer(serializers.Serializer):
    version = serializers.IntegerField()


class ModelSerializer(serializers.Serializer):
    """A registered model, as `registry.answers` makes it."""

    name = serializers.CharField()
    description = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    latest_version = StagedVersionSerializer(allow_null=True)
    production_version = NumberedVersionSerializer(allow_null=True)
    version_count = serializers.IntegerField()
    aliases = serializers.DictField(child=serializers.IntegerField())
    live_endpoints = serializers.ListField(child=serializers.CharField())
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    url = serializers.CharField()


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


class ParentSerializer(serializers.Serializer):
    model_name = serializers.CharField()
    version = serializers.IntegerField()
    relation = serializers.ChoiceField(choices=Relation.choices)


class VersionSerializer(serializers.Serializer):
    """A model version, as `registry.answers` makes it."""

    model_name = serializers.CharField()
    version = serializers.IntegerField()
    stage = serializers.ChoiceField(choices=Stage.choices)
    status = serializers.ChoiceField(choices=VersionStatus.choices)
    status_reason = serializers.CharField()
    description = serializers.CharField()
    source_run_id = serializers.CharField(allow_null=True)
    experiment_id = serializers.CharField(allow_null=True)
    experiment_name = serializers.CharField(allow_null=True)
    artifact_path = serializers.CharField()
    manifest_digest = serializers.CharField()
    file_count = serializers.IntegerField()
    size = serializers.IntegerField(help_text="bytes")
    format = serializers.CharField()
    framework = serializers.CharField()
    servable = serializers.BooleanField()
    servable_reason = serializers.CharField()
    metrics = NumbersField(help_text="the run's last values when the version was made")
    validation_metrics = NumbersField(help_text="found later, by validating the version")
    params = serializers.DictField()
    tags = TextsField()
    aliases = serializers.ListField(child=serializers.CharField())
    parent = ParentSerializer(allow_null=True)
    origin = serializers.DictField(allow_null=True, help_text="where a copied or imported version came from")
    created_by = serializers.CharField()
    created_by_door = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    url = serializers.CharField()


class VersionInput(serializers.Serializer):
    source_run_id = serializers.CharField(max_length=40)
    artifact_path = serializers.CharField(max_length=1024, trim_whitespace=False)
    description = serializers.CharField(
        default="", allow_blank=True, max_length=20_000, trim_whitespace=False
    )
    tags = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=5000, trim_whitespace=False), default=dict
    )
    parent = serializers.CharField(  # type: ignore[assignment]
        required=False,
        allow_null=True,
        max_length=300,
        help_text="what it was made from: name/3 or name@alias",
    )
    relation = serializers.ChoiceField(choices=Relation.choices, required=False, allow_blank=True)


class ValidationInput(serializers.Serializer):
    metrics = serializers.DictField(child=NumberField(), help_text="at most 1,000")


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
    approved_by = serializers.ListField(child=serializers.CharField())
    bypass_reason = serializers.CharField()
    approval_id = serializers.CharField(source="approval", help_text="of the request; empty without a policy")
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


class ComparisonSerializer(serializers.Serializer):
    """Versions side by side, values in the order of `versions`."""

    versions = serializers.SerializerMethodField()
    metrics = MetricRowSerializer(many=True)
    validation_metrics = MetricRowSerializer(many=True)
    params = RowSerializer(many=True)
    tags = RowSerializer(many=True)
    datasets = RowSerializer(many=True, help_text="digests by name")
    files = FileRowSerializer(many=True, help_text="at most 1,000, those that differ first")
    files_left_out = serializers.IntegerField()

    @extend_schema_field(VersionSerializer(many=True))
    def get_versions(self, comparison: Comparison) -> list[Any]:
        ids = [version.pk for version in comparison.versions]
        return [json.loads(text) for text in version_answers(self.context["project"], ids)]


class ReleaseInput(serializers.Serializer):
    note = serializers.CharField(max_length=2000)


class StoodInStageSerializer(serializers.Serializer):
    version = serializers.IntegerField()
    stage = serializers.ChoiceField(choices=Stage.choices)
    since = serializers.DateTimeField()
    by = serializers.CharField()
    door = serializers.CharField()
    note = serializers.CharField()
    approval_id = serializers.CharField(help_text="of the request; empty without a policy")
    approved_by = serializers.ListField(child=serializers.CharField())
    evidence = serializers.CharField(help_text="SHA-256 of what reviewers judged")
    bypass_reason = serializers.CharField()


class PointedToSerializer(serializers.Serializer):
    alias = serializers.CharField()
    version = serializers.IntegerField()
    since = serializers.DateTimeField()
    by = serializers.CharField()
    door = serializers.CharField()


class StandingSerializer(serializers.Serializer):
    """How a model stood at a moment, Production first."""

    as_of = serializers.DateTimeField()
    stages = StoodInStageSerializer(many=True)
    aliases = PointedToSerializer(many=True)


class TrashedSerializer(serializers.Serializer):
    """What can come back until `permanent_at`. `version` is null for a model with all its versions."""

    model_name = serializers.CharField()
    version = serializers.IntegerField(source="number", allow_null=True)
    version_count = serializers.IntegerField()
    deleted_at = serializers.DateTimeField()
    deleted_by = serializers.CharField(allow_null=True)
    permanent_at = serializers.DateTimeField()


class TrashSerializer(serializers.Serializer):
    results = TrashedSerializer(many=True)


class RestoreModelInput(serializers.Serializer):
    as_name = serializers.CharField(required=False, allow_null=True, max_length=200)


class ProtectionSerializer(serializers.Serializer):
    """Who alone may move an alias or a stage; `model_name` is null where it is about all models."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Protected.choices)
    name = serializers.CharField()
    model_name = serializers.CharField(source="model.name", allow_null=True)
    roles = serializers.ListField(child=serializers.CharField())
    groups = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_groups(self, protection: Protection) -> list[str]:
        return sorted(short_name(group) for group in protection.groups.all())


class ProtectionInput(serializers.Serializer):
    kind = serializers.CharField(max_length=8, help_text="alias or stage")
    name = serializers.CharField(max_length=64)
    model_name = serializers.CharField(
        required=False, allow_null=True, max_length=200, help_text="without it, all models of the project"
    )
    roles = serializers.ListField(child=serializers.CharField(max_length=16), required=False)
    groups = serializers.ListField(child=serializers.CharField(max_length=150), required=False)
