"""Models, versions, aliases and their histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podstack.models.approvals import Approval
from podstack.models.base import Answer, many, mapping, moment, numbers, parsed


@dataclass(frozen=True, kw_only=True)
class VersionRef(Answer):
    """A version as another answer mentions it."""

    version: int = 0
    stage: str = ""


@dataclass(frozen=True, kw_only=True)
class Model(Answer):
    """A registered model; `aliases` maps each alias to a version number."""

    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = parsed(tuple, ())
    latest_version: VersionRef | None = parsed(VersionRef.from_json, None)
    production_version: VersionRef | None = parsed(VersionRef.from_json, None)
    version_count: int = 0
    aliases: Mapping[str, int] = mapping()
    live_endpoints: tuple[str, ...] = parsed(tuple, ())
    created_by: str | None = None
    created_at: datetime | None = moment()
    updated_at: datetime | None = moment()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class ParentVersion(Answer):
    """The version that another was made from, and what that one is to it."""

    model_name: str = ""
    version: int = 0
    relation: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Answer):
    """One version of a model: `version` is its number, `stage` None, Staging, Production or Archived."""

    model_name: str = ""
    version: int = 0
    stage: str = "None"
    status: str = ""
    status_reason: str = ""
    description: str = ""
    source_run_id: str | None = None
    experiment_id: str | None = None
    experiment_name: str | None = None
    artifact_path: str = ""
    manifest_digest: str = ""
    file_count: int = 0
    size: int = 0
    format: str = ""
    framework: str = ""
    servable: bool = False
    servable_reason: str = ""
    metrics: Mapping[str, float] = numbers()
    validation_metrics: Mapping[str, float] = numbers()
    params: Mapping[str, Any] = mapping()
    tags: Mapping[str, str] = mapping()
    aliases: tuple[str, ...] = parsed(tuple, ())
    parent: ParentVersion | None = parsed(ParentVersion.from_json, None)
    origin: Mapping[str, Any] | None = None
    created_by: str | None = None
    created_by_door: str = ""
    created_at: datetime | None = moment()
    updated_at: datetime | None = moment()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class BundleKey(Answer):
    """A server's public key in base64, and the 16 hex digits by which people speak of it."""

    algorithm: str = ""
    key_id: str = ""
    public_key: str = ""


@dataclass(frozen=True, kw_only=True)
class Inspection(Answer):
    """What a worker found in a version's files.

    `details`: files (path, size, type), parameters (their number), tensor_bytes, tensors (name, dtype, shape),
    signature ({"inputs", "outputs"} of {"name", "dtype", "shape"}, or None), notes.
    """

    manifest_digest: str = ""
    status: str = ""
    status_reason: str = ""
    format: str = ""
    framework: str = ""
    servable: bool = False
    servable_reason: str = ""
    rules: str = ""
    inspected_at: datetime | None = moment()
    details: Mapping[str, Any] = mapping()


@dataclass(frozen=True, kw_only=True)
class StageTransition(Answer):
    """A move between stages. `status` is "applied", or "pending_approval" with `approval` set."""

    status: str = "applied"
    model_name: str = ""
    version: int = 0
    from_stage: str = ""
    to_stage: str = ""
    note: str = ""
    actor: str | None = None
    created_at: datetime | None = moment()
    approved_by: list[str] = field(default_factory=list)
    bypass_reason: str = ""
    approval_id: str = ""
    approval: Approval | None = parsed(Approval.from_json, None)


@dataclass(frozen=True, kw_only=True)
class Alias(Answer):
    """A name that points to a version."""

    alias: str = ""
    version: int = 0
    updated_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class StoodInStage(Answer):
    """A version's stage at a moment, since when, who put it there, who approved it and on what evidence."""

    version: int = 0
    stage: str = ""
    since: datetime | None = moment()
    by: str = ""
    door: str = ""
    note: str = ""
    approval_id: str = ""
    approved_by: list[str] = field(default_factory=list)
    evidence: str = ""
    bypass_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class PointedTo(Answer):
    """Where an alias pointed at a moment, since when, and who put it there."""

    alias: str = ""
    version: int = 0
    since: datetime | None = moment()
    by: str = ""
    door: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing(Answer):
    """How a model stood at a moment, Production first."""

    as_of: datetime | None = moment()
    stages: tuple[StoodInStage, ...] = many(StoodInStage)
    aliases: tuple[PointedTo, ...] = many(PointedTo)

    @property
    def production(self) -> StoodInStage | None:
        """The newest version that stood in Production."""
        return next((each for each in self.stages if each.stage == "Production"), None)


@dataclass(frozen=True, kw_only=True)
class Trashed(Answer):
    """What can come back until `permanent_at`; `version` is None for a model with all its versions."""

    model_name: str = ""
    version: int | None = None
    version_count: int = 0
    deleted_at: datetime | None = moment()
    deleted_by: str | None = None
    permanent_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class Protection(Answer):
    """Who alone may move an alias or a stage; `model_name` is None where it is about all models."""

    id: int = 0
    kind: str = ""
    name: str = ""
    model_name: str | None = None
    roles: tuple[str, ...] = parsed(tuple, ())
    groups: tuple[str, ...] = parsed(tuple, ())
    created_by: str = ""
    created_at: datetime | None = moment()
