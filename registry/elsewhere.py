"""Versions that came from elsewhere: no run of this project made them, `origin` says where they are from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import JSONField, Value

from accounts.models import Project
from accounts.permissions import Actor
from artifacts.models import Manifest
from common.checks import check_pattern
from registry.choices import MetricKind
from registry.models import ModelVersion, RegisteredModel, VersionMetric, VersionParam, VersionTag
from registry.names import MODEL_NAME
from registry.services import _insert_model, _model_to_count, _next_version, _settled

BATCH = 1000
NAME_RULE = "1 to 200 characters without '/', ':' or spaces at its ends"


@dataclass(frozen=True)
class Content:
    """What a version brings along: its files, texts, and its rows as (kind, key, value) and {key: value}."""

    manifest: Manifest
    description: str
    artifact_path: str
    metrics: Iterable[tuple[MetricKind, str, float]]
    params: Mapping[str, Any]
    annotations: Mapping[str, str]
    model_description: str = ""
    model_tags: list[str] = field(default_factory=list)


def check_model_name(field_name: str, name: object) -> str:
    """A name that a model can have; else Invalid naming the field."""
    return check_pattern(field_name, name, MODEL_NAME, NAME_RULE, max_length=200)


def add_version(
    actor: Actor, project: Project, model_name: str, content: Content, origin: Mapping[str, Any]
) -> ModelVersion:
    """The next version of `model_name`, registered on the way when there is none; call it in a transaction.

    What a worker found in the same files before holds here too; else a worker looks at them. That somebody
    elsewhere released a quarantined version does not hold.
    """
    version = _next_version(
        _model(actor, project, model_name, content),
        ModelVersion(
            **_settled(content.manifest),
            manifest=content.manifest,
            description=content.description,
            artifact_path=content.artifact_path,
            origin=dict(origin),
            created_by=actor.user,
            created_by_door=actor.door,
        ),
    )
    _add_rows(version, content)
    return version


def _model(actor: Actor, project: Project, name: str, content: Content) -> RegisteredModel:
    """The model under its lock; a new one has the description and tags that came along."""
    if not RegisteredModel.objects.alive().filter(project=project, name=name).exists():
        about = {"description": content.model_description, "tags": content.model_tags}
        _insert_model(actor, project, {"name": name, **about})
    return _model_to_count(actor, project, name)


def _add_rows(version: ModelVersion, content: Content) -> None:
    VersionMetric.objects.bulk_create(
        [
            VersionMetric(version=version, kind=kind, key=key, value=value)
            for kind, key, value in content.metrics
        ],
        batch_size=BATCH,
    )
    VersionParam.objects.bulk_create(
        [VersionParam(version=version, key=key, value=_json(value)) for key, value in content.params.items()],
        batch_size=BATCH,
    )
    VersionTag.objects.bulk_create(
        [VersionTag(version=version, key=key, value=value) for key, value in content.annotations.items()],
        batch_size=BATCH,
    )


def _json(value: Any) -> Any:
    """A JSON null as a value: None alone would be SQL's NULL, which the column refuses."""
    return Value(None, JSONField()) if value is None else value
