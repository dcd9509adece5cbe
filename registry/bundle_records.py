"""What `bundle.json` says of a version, written and read; what is read is checked field by field."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts.permissions import Actor
from artifacts.models import ManifestFile
from artifacts.paths import check_path
from artifacts.services import check_digest, check_no_file_is_a_folder
from common.checks import (
    check_labels,
    check_mapping,
    check_number,
    check_text,
    check_whole,
    plain_number,
    shorten,
)
from common.errors import Invalid
from registry.bundle_files import BUNDLE, MOST_FILES, damaged
from registry.choices import MetricKind
from registry.elsewhere import check_model_name
from registry.models import AliasMove, ModelVersion
from registry.services import DESCRIPTION_LENGTH
from tracking.models import Run

FORMAT, FORMAT_VERSION = "podstack-bundle", 1
MOST_ROWS = 100_000
DEEPEST = 20


def described(actor: Actor, version: ModelVersion, files: list[ManifestFile]) -> dict[str, Any]:
    """bundle.json: what the version is, and where it came from."""
    model = version.model
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "server": settings.PUBLIC_URL,
        "exported_at": timezone.now().isoformat(),
        "exported_by": actor.user.username,
        "project": model.project.slug,
        "model": {"name": model.name, "description": model.description, "tags": model.tags},
        "version": {
            "number": version.number,
            "description": version.description,
            "stage": version.stage,
            "artifact_path": version.artifact_path,
            "format": version.format,
            "framework": version.framework,
            "created_by": version.created_by.username,
            "created_at": version.created_at.isoformat(),
            "parent": _parent(version),
            "origins": _origins(version),
        },
        "metrics": _metrics(version),
        "params": {row.key: row.value for row in version.params.all()},
        "annotations": {row.key: row.value for row in version.tags.all()},
        "history": {"transitions": _transitions(version), "alias_moves": _alias_moves(version)},
        "run": _run(version.source_run) if version.source_run else None,
        "manifest": {
            "digest": version.manifest.digest,
            "files": [{"path": f.path, "size": f.blob.size, "sha256": f.blob.sha256} for f in files],
        },
    }


def _parent(version: ModelVersion) -> dict[str, Any] | None:
    parent = version.parent
    if parent is None:
        return None
    return {"model": parent.model.name, "version": parent.number, "relation": version.relation}


def _origins(version: ModelVersion) -> list[dict[str, Any]]:
    """Where the version was before it came here, the first place first."""
    if not version.origin:
        return []
    origin = dict(version.origin)
    return [*origin.pop("before", []), origin]


def _metrics(version: ModelVersion) -> dict[str, dict[str, float | str]]:
    return {
        kind.value: {row.key: plain_number(row.value) for row in version.metrics.all() if row.kind == kind}
        for kind in MetricKind
    }


def _transitions(version: ModelVersion) -> list[dict[str, Any]]:
    """The moves between stages, the first one first."""
    return [
        {
            "from_stage": move.from_stage,
            "to_stage": move.to_stage,
            "note": move.note,
            "actor": move.actor.username,
            "door": move.door,
            "created_at": move.created_at.isoformat(),
        }
        for move in version.transitions.select_related("actor").order_by("id")
    ]


def _alias_moves(version: ModelVersion) -> list[dict[str, Any]]:
    """The moves of aliases to and from the version, the first one first."""
    moves = AliasMove.objects.filter(Q(from_version=version) | Q(to_version=version))
    return [
        {
            "alias": move.name,
            "from_version": move.from_version.number if move.from_version else None,
            "to_version": move.to_version.number if move.to_version else None,
            "actor": move.actor.username,
            "door": move.door,
            "created_at": move.created_at.isoformat(),
        }
        for move in moves.select_related("from_version", "to_version", "actor").order_by("id")
    ]


def _run(run: Run) -> dict[str, Any]:
    """What the run that made the version recorded, its series left out."""
    links = run.dataset_links.select_related("dataset")
    return {
        "id": run.public_id,
        "name": run.name,
        "experiment": run.experiment.name,
        "status": run.status,
        "code_version": run.code_version,
        "created_by": run.created_by.username,
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "params": {row.key: row.value for row in run.params.all()},
        "metrics": {row.key: plain_number(row.last) for row in run.metrics.all()},
        "tags": {row.key: row.value for row in run.tags.all()},
        "datasets": [
            {
                "name": link.dataset.name,
                "path": link.dataset.path,
                "description": link.dataset.description,
                "digest": link.dataset.digest,
                "context": link.context,
            }
            for link in links
        ],
    }


@dataclass(frozen=True)
class Listed:
    """A file as the bundle lists it; `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """A checked bundle.json. `about` goes into the origin as it is: history, run and earlier origins."""

    server: str
    project: str
    model_name: str
    model_description: str
    model_tags: list[str]
    number: int
    description: str
    artifact_path: str
    metrics: list[tuple[MetricKind, str, float]]
    params: Mapping[str, Any]
    annotations: Mapping[str, str]
    manifest_digest: str
    files: list[Listed]
    about: Mapping[str, Any]


def read_record(value: Any) -> Record:
    """The record in a signed bundle.json; Invalid naming the field that no server of ours would write."""
    whole = _Fields("bundle", value)
    if (whole.get("format"), whole.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise damaged(BUNDLE, f"is not of the format {FORMAT} {FORMAT_VERSION}, the one this server reads")
    model, version = whole.fields("model"), whole.fields("version")
    manifest, history = whole.fields("manifest"), whole.fields("history")
    return Record(
        server=whole.text("server", 2000),
        project=whole.text("project", 200),
        model_name=check_model_name("bundle.model.name", model.get("name")),
        model_description=model.text("description", DESCRIPTION_LENGTH),
        model_tags=check_labels("bundle.model.tags", model.get("tags")),
        number=check_whole("bundle.version.number", version.get("number"), low=1, high=2**31 - 1),
        description=version.text("description", DESCRIPTION_LENGTH),
        artifact_path=version.text("artifact_path", 1024),
        metrics=_read_metrics(whole.fields("metrics")),
        params=_read_params(whole.get("params")),
        annotations=_read_annotations(whole.get("annotations")),
        manifest_digest=check_digest("bundle.manifest.digest", manifest.get("digest")),
        files=_read_files(manifest.get("files")),
        about={
            "exported_at": whole.text("exported_at", 64),
            "exported_by": whole.text("exported_by", 200),
            "stage": version.text("stage", 16),
            "created_by": version.text("created_by", 200),
            "created_at": version.text("created_at", 64),
            "parent": version.plain("parent"),
            "run": whole.plain("run"),
            "history": {
                "transitions": history.plain("transitions"),
                "alias_moves": history.plain("alias_moves"),
            },
            "before": version.plain("origins"),
        },
    )


class _Fields:
    """An object of bundle.json whose fields are asked for by name."""

    def __init__(self, name: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise Invalid.field(name[:80], f"{name} must be an object, not {shorten(value)}.")
        self.name = name
        self.value = value

    def get(self, key: str) -> Any:
        if key not in self.value:
            raise Invalid.field(self.name, f"{self.name} has no field {key}.")
        return self.value[key]

    def fields(self, key: str) -> _Fields:
        return _Fields(f"{self.name}.{key}", self.get(key))

    def text(self, key: str, max_length: int) -> str:
        return check_text(f"{self.name}.{key}", self.get(key), max_length=max_length)

    def plain(self, key: str) -> Any:
        return check_plain(f"{self.name}.{key}", self.get(key))


def check_plain(field: str, value: Any, depth: int = 0) -> Any:
    """JSON that the database can keep: no NUL, no lone surrogates, no infinite numbers, not too deep."""
    if depth > DEEPEST:
        raise Invalid.field(field, f"{field} is nested too deeply.")
    if isinstance(value, str) and any(c == "\0" or unicodedata.category(c) == "Cs" for c in value):
        raise Invalid.field(field, f"{field} holds a character that is not allowed.")
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid.field(field, f"{field} holds a number that is too large.")
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for each in inner:
        check_plain(field, each, depth + 1)
    return value


def _read_metrics(kinds: _Fields) -> list[tuple[MetricKind, str, float]]:
    found = []
    for kind in MetricKind:
        name = f"{kinds.name}.{kind.value}"
        values = check_mapping(name, kinds.get(kind.value), max_count=MOST_ROWS)
        found += [(kind, key, check_number(f"{name}.{key}"[:120], value)) for key, value in values.items()]
    return found


def _read_params(value: Any) -> dict[str, Any]:
    found = check_mapping("bundle.params", value, max_count=MOST_ROWS)
    for key, each in found.items():
        if isinstance(each, dict | list):
            name = f"bundle.params.{key}"[:120]
            raise Invalid.field(name, f"{name} must be text, a number, true, false or null.")
        check_plain("bundle.params", each)
    return found


def _read_annotations(value: Any) -> dict[str, str]:
    found = check_mapping("bundle.annotations", value, max_count=MOST_ROWS)
    return {
        key: check_text(f"bundle.annotations.{key}"[:120], each, max_length=5000)
        for key, each in found.items()
    }


def _read_files(value: Any) -> list[Listed]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_FILES:
        raise Invalid.field("bundle.manifest.files", "bundle.manifest.files must be a list of files.")
    files = [_read_file(_Fields("bundle.manifest.files", each)) for each in value]
    paths = {each.path for each in files}
    if len(paths) != len(files):
        raise Invalid.field("bundle.manifest.files", "bundle.manifest.files names a path twice.")
    check_no_file_is_a_folder(paths)
    return files


def _read_file(file: _Fields) -> Listed:
    return Listed(
        path=check_path("bundle.manifest.files", file.get("path")),
        size=check_whole(f"{file.name}.size", file.get("size"), low=0, high=2**53),
        sha256=check_digest(f"{file.name}.sha256", file.get("sha256")),
    )
