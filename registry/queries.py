"""Finding models and versions, and comparing versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models.expressions import RawSQL

from accounts.models import Project
from artifacts.models import ManifestFile
from common.checks import shorten
from common.comparison import MOST_COMPARED, FileRow, MetricRow, Row, file_rows, metric_rows, rows_of
from common.errors import Invalid, Missing
from registry.choices import MetricKind
from registry.models import ModelVersion, RegisteredModel
from registry.refs import NUMBER, key_of
from registry.shown import read_model, read_numbers, read_version
from tracking.queries import datasets_of_runs

if TYPE_CHECKING:
    from django.db.models import QuerySet

MOST_FILES = 1000


def find_model(project: Project, name: str) -> RegisteredModel:
    """The project's model of this name, or Missing."""
    model = RegisteredModel.objects.filter(project=project, name=name, deleted_at=None).first()
    if model is None:
        raise _no_model(project, name)
    model.project = project
    return model


def find_shown_model(project: Project, name: str) -> RegisteredModel:
    """The same with its summary, its aliases, and who made it."""
    model = read_model(project, name)
    if model is None:
        raise _no_model(project, name)
    return model


def check_model(project: Project, name: str) -> None:
    """Missing where a list's filter names a model that was never there: what was asked of deleted ones is listed."""
    if not RegisteredModel.objects.filter(project=project, name=name).exists():
        raise _no_model(project, name)


def _no_model(project: Project, name: str) -> Missing:
    return Missing(
        f"There is no model {shorten(name)} in {project.slug}.",
        "Register it first, or check the name.",
        code="model_not_found",
    )


def find_version(model: RegisteredModel, ref: str | int) -> ModelVersion:
    """The version that `ref` names: a number, "v3", "latest" or an alias, with its details; else Missing."""
    found = read_version(model, ref)
    if found is None:
        raise no_version(model, ref)
    return found


def find_versions(model: RegisteredModel, refs: Sequence[str | int]) -> list[ModelVersion]:
    """The versions that these name, in their order; Missing for the first that is none."""
    matches = {ref: NUMBER.fullmatch(str(ref)) for ref in refs}
    numbers = {ref: int(match[1]) for ref, match in matches.items() if match}
    found = {each.number: each for each in read_numbers(model, list(numbers.values()))}
    return [found.get(numbers.get(ref, 0)) or find_version(model, ref) for ref in refs]


def version_among(rows: QuerySet[ModelVersion], model: RegisteredModel, ref: str | int) -> ModelVersion:
    """The one of these rows that `ref` names in the model, or Missing."""
    key, values = key_of(ref)
    version = rows.filter(pk=RawSQL(key, [model.pk, *values])).first()  # noqa: S611  a constant of the code
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
    return compare_versions(find_versions(model, list(dict.fromkeys(map(str, refs)))))


def compare_versions(versions: Sequence[ModelVersion]) -> Comparison:
    """The same of versions at hand, of one model or of several."""
    files = _file_rows(versions)
    return Comparison(
        versions=tuple(versions),
        metrics=_metrics(versions, MetricKind.TRAINING),
        validation_metrics=_metrics(versions, MetricKind.VALIDATION),
        params=rows_of([{p.key: p.value for p in v.params.all()} for v in versions]),
        tags=rows_of([{t.key: t.value for t in v.tags.all()} for v in versions]),
        datasets=rows_of(_datasets(versions)),
        files=tuple(files[:MOST_FILES]),
        files_left_out=max(0, len(files) - MOST_FILES),
    )


def _metrics(versions: Sequence[ModelVersion], kind: MetricKind) -> tuple[MetricRow, ...]:
    return metric_rows([{m.key: m.value for m in v.metrics.all() if m.kind == kind} for v in versions])


def _datasets(versions: Sequence[ModelVersion]) -> list[dict[str, str]]:
    """Of each version: name -> digest, or path where there is no digest."""
    found = datasets_of_runs([version.source_run_id for version in versions if version.source_run_id])
    return [
        {each.name: each.digest or each.path for each in found.get(version.source_run_id or 0, [])}
        for version in versions
    ]


def _file_rows(versions: Sequence[ModelVersion]) -> list[FileRow]:
    """All paths of all versions, those that differ first; one statement."""
    rows = ManifestFile.objects.filter(manifest__in={version.manifest_id for version in versions})
    by_manifest: dict[int, dict[str, tuple[str, int]]] = {}
    for manifest_id, path, sha256, size in rows.values_list(
        "manifest_id", "path", "blob__sha256", "blob__size"
    ):
        by_manifest.setdefault(manifest_id, {})[path] = (sha256, size)
    return file_rows([by_manifest.get(version.manifest_id, {}) for version in versions])


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
