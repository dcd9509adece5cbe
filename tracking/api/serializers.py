"""Experiments, runs and what runs record, as JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common.api.comparison import FileRowSerializer, MetricRowSerializer, RowSerializer
from common.api.fields import NUMBER_SCHEMA, RowsField, ScalarField
from common.checks import plain_number
from common.links import absolute
from tracking.choices import RunStatus
from tracking.models import Experiment, Run, RunAlert, RunMetric

NUMBERS = {"type": "object", "additionalProperties": NUMBER_SCHEMA}
SCALARS = {"type": "object", "additionalProperties": {}}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
WHOLE = {"type": "array", "items": {"type": "integer", "format": "int64"}}
TEXT_LENGTH = 20_000


class ExperimentSerializer(serializers.Serializer):
    """An experiment; `run_count` without deleted runs."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    description = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(source="created_by.username")
    archived_at = serializers.DateTimeField(allow_null=True)
    run_count = serializers.IntegerField()
    url = serializers.SerializerMethodField()

    def get_url(self, experiment: Experiment) -> str:
        return absolute("tracking:experiment", experiment.project.slug, experiment.public_id)


class ExperimentInput(serializers.Serializer):
    name = serializers.CharField(max_length=200)
    description = serializers.CharField(
        default="", allow_blank=True, max_length=TEXT_LENGTH, trim_whitespace=False
    )
    tags = serializers.ListField(child=serializers.CharField(max_length=64), default=list)


class ExperimentChange(serializers.Serializer):
    name = serializers.CharField(required=False, max_length=200)
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=TEXT_LENGTH, trim_whitespace=False
    )
    tags = serializers.ListField(child=serializers.CharField(max_length=64), required=False)


SUMMARY = {
    "type": "object",
    "properties": {
        "last": NUMBER_SCHEMA,
        "last_step": {"type": "integer", "format": "int64"},
        "min": {**NUMBER_SCHEMA, "nullable": True},
        "max": {**NUMBER_SCHEMA, "nullable": True},
        "count": {"type": "integer"},
    },
    "required": ["last", "last_step", "min", "max", "count"],
}
SUMMARIES = {"type": "object", "additionalProperties": SUMMARY}


def summary(metric: RunMetric) -> dict[str, Any]:
    """One series without its points; min and max leave NaN out and are null where there is nothing else."""
    return {
        "last": plain_number(metric.last),
        "last_step": metric.last_step,
        "min": None if metric.low is None else plain_number(metric.low),
        "max": None if metric.high is None else plain_number(metric.high),
        "count": metric.count,
    }


class DatasetSerializer(serializers.Serializer):
    """Data that a run used, and what for."""

    id = serializers.IntegerField(source="dataset_id")
    name = serializers.CharField(source="dataset.name")
    path = serializers.CharField(source="dataset.path")
    description = serializers.CharField(source="dataset.description")
    digest = serializers.CharField(source="dataset.digest")
    context = serializers.CharField()  # type: ignore[assignment]


class DatasetInput(serializers.Serializer):
    name = serializers.CharField(max_length=200)
    path = serializers.CharField(default="", allow_blank=True, max_length=1024, trim_whitespace=False)
    description = serializers.CharField(
        default="", allow_blank=True, max_length=TEXT_LENGTH, trim_whitespace=False
    )
    digest = serializers.CharField(default="", allow_blank=True, max_length=128)
    context = serializers.CharField(  # type: ignore[assignment]
        default="", allow_blank=True, max_length=64
    )


class RunSerializer(serializers.Serializer):
    """A run with its parameters and each metric's last value."""

    id = serializers.CharField(source="public_id")
    experiment_id = serializers.CharField(source="experiment.public_id")
    experiment_name = serializers.CharField(source="experiment.name")
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=RunStatus.choices)
    error = serializers.CharField()
    notes = serializers.CharField()
    params = serializers.SerializerMethodField()
    metrics = serializers.SerializerMethodField()
    metric_summary = serializers.SerializerMethodField()
    tags = serializers.SerializerMethodField()
    datasets = DatasetSerializer(source="dataset_links.all", many=True)
    artifact_count = serializers.IntegerField()
    artifact_bytes = serializers.IntegerField()
    parent_run_id = serializers.CharField(source="parent.public_id", default=None, allow_null=True)
    code_version = serializers.CharField()
    environment = serializers.DictField()
    created_by = serializers.CharField(source="created_by.username")
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    deleted_at = serializers.DateTimeField(allow_null=True)
    duration_seconds = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()

    @extend_schema_field(SCALARS)
    def get_params(self, run: Run) -> dict[str, Any]:
        return {row.key: row.value for row in run.params.all()}

    @extend_schema_field(NUMBERS)
    def get_metrics(self, run: Run) -> dict[str, float | str]:
        return {row.key: plain_number(row.last) for row in run.metrics.all()}

    @extend_schema_field(SUMMARIES)
    def get_metric_summary(self, run: Run) -> dict[str, Any]:
        return {row.key: summary(row) for row in run.metrics.all()}

    @extend_schema_field(TEXTS)
    def get_tags(self, run: Run) -> dict[str, str]:
        return {row.key: row.value for row in run.tags.all()}

    def get_duration_seconds(self, run: Run) -> float:
        return run.duration.total_seconds()

    def get_url(self, run: Run) -> str:
        return absolute("tracking:run", run.project.slug, run.public_id)


class RunInput(serializers.Serializer):
    experiment_id = serializers.CharField(
        required=False, max_length=200, help_text="id or name; a new name makes the experiment"
    )
    id = serializers.CharField(
        required=False,
        max_length=40,
        help_text="run- and 6 to 32 letters or digits; one that is there is resumed",
    )
    name = serializers.CharField(default="", allow_blank=True, max_length=200)
    tags = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=5000, trim_whitespace=False), default=dict
    )
    parent_run_id = serializers.CharField(required=False, allow_null=True, max_length=40)
    code_version = serializers.CharField(default="", allow_blank=True, max_length=200)
    environment = serializers.DictField(
        default=dict, help_text="what the recorder saw: system, packages, git; at most 32 KiB"
    )


class RunChange(serializers.Serializer):
    name = serializers.CharField(required=False, allow_blank=True, max_length=200)
    notes = serializers.CharField(
        required=False, allow_blank=True, max_length=TEXT_LENGTH, trim_whitespace=False
    )
    tags = serializers.DictField(
        child=serializers.CharField(
            allow_blank=True, allow_null=True, max_length=5000, trim_whitespace=False
        ),
        required=False,
        help_text="set; null removes; others stay",
    )


class RunEnd(serializers.Serializer):
    status = serializers.ChoiceField(choices=[s for s in RunStatus.choices if s[0] != RunStatus.RUNNING])
    error = serializers.CharField(default="", allow_blank=True, max_length=TEXT_LENGTH, trim_whitespace=False)


class RunKill(serializers.Serializer):
    reason = serializers.CharField(default="", allow_blank=True, max_length=2000, trim_whitespace=False)


class AlertSerializer(serializers.Serializer):
    """A condition on a metric of a run; fired_at, fired_value and fired_step are null until a value meets it."""

    id = serializers.CharField(source="public_id")
    condition = serializers.CharField()
    metric = serializers.CharField(source="key")
    message = serializers.CharField()
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()
    fired_at = serializers.DateTimeField(allow_null=True)
    fired_value = serializers.SerializerMethodField()
    fired_step = serializers.IntegerField(allow_null=True)

    @extend_schema_field({**NUMBER_SCHEMA, "nullable": True})
    def get_fired_value(self, alert: RunAlert) -> float | str | None:
        return None if alert.fired_value is None else plain_number(alert.fired_value)


class AlertInput(serializers.Serializer):
    condition = serializers.CharField(
        max_length=400, trim_whitespace=False, help_text="a metric's key, < <= > >= == != and a number"
    )
    message = serializers.CharField(default="", allow_blank=True, max_length=2000, trim_whitespace=False)


class ParamsInput(serializers.Serializer):
    params = serializers.DictField(child=ScalarField(allow_null=True))


@extend_schema_field(
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "key": {"type": "string", "maxLength": 250},
                "values": {"type": "array", "items": NUMBER_SCHEMA, "minItems": 1},
                "steps": {**WHOLE, "description": "as many as values; without, they follow the last step"},
                "timestamps": {**WHOLE, "description": "as many as values; milliseconds since 1970, UTC"},
            },
            "required": ["key", "values"],
            "additionalProperties": False,
        },
    }
)
class SeriesField(RowsField):
    """Arrays of points."""

    known = ("key", "values", "steps", "timestamps")


class MetricsInput(serializers.Serializer):
    series = SeriesField()


class AcceptedSerializer(serializers.Serializer):
    accepted = serializers.IntegerField(help_text="points stored")


class MetricsSerializer(serializers.Serializer):
    """All series of a run without their points."""

    metrics = serializers.SerializerMethodField()

    @extend_schema_field(SUMMARIES)
    def get_metrics(self, run: Run) -> dict[str, Any]:
        return {row.key: summary(row) for row in run.metrics.all()}


class FileInput(serializers.Serializer):
    path = serializers.CharField(max_length=1024, trim_whitespace=False)
    sha256 = serializers.CharField(max_length=64)


@extend_schema_field(FileInput(many=True))
class FilesField(RowsField):
    """Paths and digests."""

    known = ("path", "sha256")


class FilesInput(serializers.Serializer):
    files = FilesField()


class CommittedSerializer(serializers.Serializer):
    committed = serializers.IntegerField(help_text="files that the run now has at the paths given")


class RunComparisonSerializer(serializers.Serializer):
    """Runs side by side, values in the order of `runs`; metrics are final values."""

    runs = RunSerializer(many=True)
    metrics = MetricRowSerializer(many=True)
    params = RowSerializer(many=True)
    tags = RowSerializer(many=True)
    datasets = RowSerializer(many=True, help_text="digests by name")
    files = FileRowSerializer(many=True, help_text="at most 1,000, those that differ first")
    files_left_out = serializers.IntegerField()
