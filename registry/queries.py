"""Finding models and versions, and comparing versions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accounts.models import Project
from artifacts.models import ManifestFile
from common.checks import shorten
from common.directions import best_of, direction_of
from common.errors import Invalid, Missing
from registry.choices import MetricKind
from registry.models import ModelVersion, RegisteredModel
from tracking.queries import datasets_of

if TYPE_CHECKING:
    from django.db.models import QuerySet

NUMBER = re.compile(r"v?([0-9]{1,9})")
LATEST = "latest"
MOST_COMPARED = 10
MOST_FILES = 1000


def find_model(project: Project, name: str) -> RegisteredModel:
    """The project's model of this name, or Missing."""
    model = RegisteredModel.objects.filter(project=project, name=name, deleted_at=None).first()
    if model is None:
        raise Missing(
            f"There is no model {shorten(name)} in {project.slug}.",
            "Register it first, or check the name.",
            code="model_not_found",
        )
    model.project = project
    return model


def find_version(model: RegisteredModel, ref: str | int) -> ModelVersion:
    """The version that `ref` names: a number, "v3", "latest" or an alias, with its details; else Missing."""
    return version_among(ModelVersion.objects.with_details(), model, ref)


def version_among(rows: QuerySet[ModelVersion], model: RegisteredModel, ref: str | int) -> ModelVersion:
    """The one of these rows that `ref` names in the model, or Missing."""
    rows = rows.filter(model=model, deleted_at=None)
    text = str(ref)
    match = NUMBER.fullmatch(text)
    if match:
        version = rows.filter(number=int(match[1])).first()
    elif text == LATEST:
        version = rows.order_by("-number").first()
    else:
        version = rows.filter(aliases__name=text).first()
    if version is None:
        raise no_version(model, ref)
    version.model = model
    return version


def no_version(model: RegisteredModel, ref: str | int) -> Missing:
    """The error that says so, and what there is."""
    match = NUMBER.fullmatch(str(ref))
    what = f"version {match[1]}" if match else f"version or alias {shorten(str(ref))}"
    return Missing(f"{model.name} has no {what}.", _what_there_is(model), code="version_not_found")


def _what_there_is(model: RegisteredModel) -> str:
    latest = ModelVersion.objects.filter(model=model, deleted_at=None).order_by("-number").first()
    return f"Its latest version is {latest.number}." if latest else "It has no versions yet."


@dataclass(frozen=True)
class Row:
    """One key over all compared versions; None where a version lacks it."""

    key: str
    values: tuple[Any, ...]
    differs: bool


@dataclass(frozen=True)
class MetricRow(Row):
    """A metric over all compared versions, and each one's difference to the first."""

    differences: tuple[float | None, ...]
    direction: str
    best: int | None

    @property
    def cells(self) -> list[tuple[Any, float | None]]:
        """Each value with its difference."""
        return list(zip(self.values, self.differences, strict=True))


@dataclass(frozen=True)
class FileRow:
    """One path over all compared versions: digests, None where a version lacks it."""

    path: str
    sha256: tuple[str | None, ...]
    sizes: tuple[int | None, ...]
    changes: tuple[str, ...]  # to the first version: same, added, removed or changed

    @property
    def differs(self) -> bool:
        return set(self.changes) != {"same"}


@dataclass(frozen=True)
class Comparison:
    """Versions side by side, in the order asked for; rows that differ come first. `datasets`: name -> digests."""

    versions: tuple[ModelVersion, ...]
    metrics: tuple[MetricRow, ...]
    validation_metrics: tuple[MetricRow, ...]
    params: tuple[Row, ...]
    tags: tuple[Row, ...]
    datasets: tuple[Row, ...]
    files: tuple[FileRow, ...]
    files_left_out: int


def compare(model: RegisteredModel, refs: Sequence[str | int]) -> Comparison:
    """Two to ten versions of one model side by side."""
    if not 2 <= len(set(map(str, refs))) <= MOST_COMPARED:
        raise Invalid.field(
            "versions",
            f"versions names {len(set(map(str, refs)))}; name 2 to {MOST_COMPARED} different ones.",
        )
    return compare_versions([find_version(model, ref) for ref in dict.fromkeys(map(str, refs))])


def compare_versions(versions: Sequence[ModelVersion]) -> Comparison:
    """The same of versions at hand, of one model or of several."""
    files = _file_rows(versions)
    return Comparison(
        versions=tuple(versions),
        metrics=_metric_rows(versions, MetricKind.TRAINING),
        validation_metrics=_metric_rows(versions, MetricKind.VALIDATION),
        params=tuple(_rows([{p.key: p.value for p in v.params.all()} for v in versions])),
        tags=tuple(_rows([{t.key: t.value for t in v.tags.all()} for v in versions])),
        datasets=tuple(_rows([_datasets(version) for version in versions])),
        files=tuple(files[:MOST_FILES]),
        files_left_out=max(0, len(files) - MOST_FILES),
    )


def _metric_rows(versions: Sequence[ModelVersion], kind: MetricKind) -> tuple[MetricRow, ...]:
    rows = _rows([{m.key: m.value for m in v.metrics.all() if m.kind == kind} for v in versions])
    return tuple(
        MetricRow(
            r.key,
            r.values,
            r.differs,
            _differences(r.values),
            direction_of(r.key),
            best_of(r.key, list(r.values)),
        )
        for r in rows
    )


def _datasets(version: ModelVersion) -> dict[str, str]:
    """name -> digest, or path where there is no digest."""
    return {each.name: each.digest or each.path for each in datasets_of(version.source_run)}


def _file_rows(versions: Sequence[ModelVersion]) -> list[FileRow]:
    """All paths of all versions, those that differ first; one statement."""
    rows = ManifestFile.objects.filter(manifest__in={version.manifest_id for version in versions})
    by_manifest: dict[int, dict[str, tuple[str, int]]] = {}
    for manifest_id, path, sha256, size in rows.values_list(
        "manifest_id", "path", "blob__sha256", "blob__size"
    ):
        by_manifest.setdefault(manifest_id, {})[path] = (sha256, size)
    columns = [by_manifest.get(version.manifest_id, {}) for version in versions]
    found = [_file_row(path, columns) for path in sorted({path for column in columns for path in column})]
    return sorted(found, key=lambda row: not row.differs)


def _file_row(path: str, columns: Sequence[dict[str, tuple[str, int]]]) -> FileRow:
    cells = [column.get(path) for column in columns]
    first = cells[0]
    return FileRow(
        path,
        tuple(cell[0] if cell else None for cell in cells),
        tuple(cell[1] if cell else None for cell in cells),
        tuple(_change(first, cell) for cell in cells),
    )


def _change(first: tuple[str, int] | None, cell: tuple[str, int] | None) -> str:
    if first == cell:
        return "same"
    if first is None:
        return "added"
    return "removed" if cell is None else "changed"


def _rows(columns: Sequence[dict[str, Any]]) -> list[Row]:
    keys = sorted({key for column in columns for key in column})
    rows = [
        Row(key, values, any(v != values[0] for v in values))
        for key in keys
        if (values := _values(columns, key))
    ]
    return sorted(rows, key=lambda row: not row.differs)


def _values(columns: Sequence[dict[str, Any]], key: str) -> tuple[Any, ...]:
    return tuple(column.get(key) for column in columns)


def _differences(values: tuple[Any, ...]) -> tuple[float | None, ...]:
    first = values[0]
    if first is None:
        return tuple(None for _ in values)
    return tuple(None if v is None or not math.isfinite(v - first) else v - first for v in values)


def versions_that_use(blob_id: int) -> list[str]:
    """Each version with these bytes, for an operator: `name version 3 of project: path`, those in the trash included.

    A list of files that no version has (any more) is named by its digest.
    """
    found = []
    for file in ManifestFile.objects.filter(blob=blob_id).select_related("manifest"):
        rows = ModelVersion.objects.filter(manifest=file.manifest_id).values_list(
            "model__name", "number", "model__project__slug"
        )
        names = [f"{model} version {number} of {project}" for model, number, project in rows]
        found += [f"{name}: {file.path}" for name in names or [f"manifest {file.manifest.digest}"]]
    return found
