"""Verbs on models, versions, aliases and annotations. Moving a stage is `approvals.services.transition_stage`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.models import Manifest
from artifacts.services import make_manifest
from common import sql
from common.checks import check_labels, check_mapping, check_number, check_text, plain_number, shorten
from common.errors import Busy, Conflict, Invalid, Missing
from common.jobs import enqueue
from registry.choices import MetricKind, Relation, VersionStatus
from registry.locks import lock_model, lock_model_unless_missing, lock_named_version
from registry.models import (
    Inspection,
    ModelVersion,
    RegisteredModel,
    VersionTag,
)
from registry.names import check_model_name
from registry.queries import find_model, version_among
from serving.scan import RULES
from tracking.queries import files_under, keep_run

DESCRIPTION_LENGTH = 20_000
TRIES = 10
# Done once the new row holds the name: nobody counts up a former model of this name any more.
GO_ON_COUNTING = """
    UPDATE registry_registeredmodel m SET last_number = former.number FROM (
        SELECT max(last_number) AS number FROM registry_registeredmodel
        WHERE project_id = %s AND name = %s AND id <> %s) former
    WHERE m.id = %s AND former.number > 0 RETURNING m.last_number AS id
"""
# Steps after the one that writes the version.
COUNT = """
    UPDATE registry_registeredmodel SET last_number = %s, latest_version_id = (SELECT id FROM step0),
        version_count = version_count + 1, updated_at = %s WHERE id = %s RETURNING id
"""
KEEP_METRICS = """
    INSERT INTO registry_versionmetric (version_id, kind, key, value)
    SELECT step0.id, 'training', m.key, m.last FROM step0, tracking_runmetric m WHERE m.run_id = %s RETURNING id
"""
KEEP_PARAMS = """
    INSERT INTO registry_versionparam (version_id, key, value)
    SELECT step0.id, p.key, p.value FROM step0, tracking_runparam p WHERE p.run_id = %s RETURNING id
"""
KNOWN = """
    SELECT status, status_reason, format, framework, servable, servable_reason
    FROM registry_inspection WHERE manifest_id = %s AND rules = %s
"""
SET_TAG = """
    WITH old AS (SELECT value FROM registry_versiontag WHERE version_id = %s AND key = %s)
    INSERT INTO registry_versiontag (version_id, key, value) VALUES (%s, %s, %s)
    ON CONFLICT (version_id, key) DO UPDATE SET value = EXCLUDED.value
    RETURNING (SELECT value FROM old)
"""
SET_VALIDATION = """
    INSERT INTO registry_versionmetric (version_id, kind, key, value)
    SELECT %s, 'validation', key, value FROM unnest(%s::text[], %s::float8[]) AS new (key, value)
    ON CONFLICT (version_id, kind, key) DO UPDATE SET value = EXCLUDED.value
"""
SETTLED = ("status", "status_reason", "format", "framework", "servable", "servable_reason")


def register_model(
    *, actor: Actor, project: Project, name: str, description: str = "", tags: Iterable[str] = ()
) -> RegisteredModel:
    """A new model. A name that a deleted model had goes on counting where that one stopped."""
    require(actor, project, Right.WRITE)
    values = {
        "name": check_model_name(name),
        "description": check_text("description", description, max_length=DESCRIPTION_LENGTH),
        "tags": check_labels("tags", tags),
    }
    with transaction.atomic():
        model = _insert_model(actor, project, values)
        if model is None:
            raise Conflict(
                f"A model named {shorten(name)} exists already in {project.slug}.",
                "Create a version of it, or choose another name.",
                code="model_exists",
            )
    return model


def update_model(
    *,
    actor: Actor,
    project: Project,
    name: str,
    description: str | None = None,
    tags: Iterable[str] | None = None,
) -> RegisteredModel:
    """Changes the description, the tags or both; None leaves one as it is."""
    require(actor, project, Right.WRITE)
    changes: dict[str, Any] = {}
    if description is not None:
        changes["description"] = check_text("description", description, max_length=DESCRIPTION_LENGTH)
    if tags is not None:
        changes["tags"] = check_labels("tags", tags)
    with transaction.atomic():
        model = lock_model(project, name)
        before = {field: getattr(model, field) for field in changes}
        if before != changes:
            _change(model, **changes)
            record(actor, "update_model", "model", model.name, project=project, before=before, after=changes)
    return model


def create_version(
    *,
    actor: Actor,
    project: Project,
    model_name: str,
    source_run_id: str,
    artifact_path: str,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    parent: str | None = None,
    relation: str = "",
) -> ModelVersion:
    """The next version: pins the files that lie under `artifact_path` of the run now, with its metrics and parameters.

    A model of this name is registered on the way when there is none. The version is Pending until a worker has
    looked at its files; files that were looked at before settle it at once. `parent` is the version that this one
    was made from, as "name/3" or "name@alias", and `relation` what it is to it: fine_tuned, adapter, distilled,
    quantized or merged.
    """
    require(actor, project, Right.WRITE)
    check_model_name(model_name)
    check_text("description", description, max_length=DESCRIPTION_LENGTH)
    annotations = _check_annotations(tags or {})
    origin = _parent(project, parent, relation)
    with transaction.atomic():
        run = keep_run(project, source_run_id)
        manifest = make_manifest(files_under(run, artifact_path))
        unnumbered = ModelVersion(
            **_settled(manifest),
            source_run=run,
            artifact_path=artifact_path,
            manifest=manifest,
            description=description,
            created_by=actor.user,
            created_by_door=actor.door,
            parent=origin,
            relation=relation,
        )
        version = _numbered(_model_to_count(actor, project, model_name), unnumbered)
        snapshot = [sql.Step(KEEP_METRICS, [run.pk]), sql.Step(KEEP_PARAMS, [run.pk])]
        written = record(
            actor,
            "create_version",
            "version",
            version_label(version),
            project=project,
            after={
                "run": run.public_id,
                "artifact_path": artifact_path,
                "manifest": manifest.digest,
                **({"parent": version_label(origin), "relation": relation} if origin else {}),
            },
            along=[*_counting(version), *snapshot],
        )
        _is_written(version, written[0])
        VersionTag.objects.bulk_create(
            [VersionTag(version=version, key=key, value=value) for key, value in annotations.items()]
        )
    return version


def _parent(project: Project, parent: str | None, relation: str) -> ModelVersion | None:
    if parent is None:
        if relation:
            raise Invalid.field("relation", "relation is given without a parent.", "Name the parent too.")
        return None
    if relation not in Relation.values:
        known = ", ".join(Relation.values)
        raise Invalid.field("relation", f"relation is {shorten(relation)}; it must be one of {known}.")
    text = check_text("parent", parent, max_length=300)
    name, _, ref = text.rpartition("/" if "/" in text else "@")
    if not name or not ref:
        raise Invalid.field("parent", f"parent is {shorten(parent)}; it must be name/3 or name@alias.")
    return version_among(ModelVersion.objects.all(), find_model(project, name), ref)


def update_version(
    *, actor: Actor, project: Project, model_name: str, ref: str | int, description: str
) -> ModelVersion:
    """Changes the description; files never change."""
    require(actor, project, Right.WRITE)
    check_text("description", description, max_length=DESCRIPTION_LENGTH)
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        before = version.description
        if before != description:
            _change(version, description=description)
            record(
                actor,
                "update_version",
                "version",
                version_label(version),
                project=project,
                before={"description": before},
                after={"description": description},
            )
    return version


@dataclass(frozen=True)
class Findings:
    """What looking at a version's files gave: whether they are safe, what they are, whether they can be served."""

    status: VersionStatus
    status_reason: str
    format: str
    framework: str
    servable: bool
    servable_reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


def keep_inspection(*, manifest: Manifest, findings: Findings) -> None:
    """Keeps what was found, so that the next version with the same files is settled at once."""
    kept = {**asdict(findings), "rules": RULES, "created_at": timezone.now()}
    Inspection.objects.update_or_create(manifest=manifest, defaults=kept)


def settle_version(*, actor: Actor, version_id: int, findings: Findings) -> None:
    """Ends the waiting of a Pending version; one that is settled already stays as it is."""
    with transaction.atomic():
        version = ModelVersion.objects.select_related("model__project").get(pk=version_id)
        pending = ModelVersion.objects.filter(pk=version_id, status=VersionStatus.PENDING)
        if pending.update(**{name: getattr(findings, name) for name in SETTLED}, updated_at=timezone.now()):
            record(
                actor,
                "settle_version",
                "version",
                version_label(version),
                project=version.model.project,
                before={"status": VersionStatus.PENDING},
                after={
                    "status": findings.status,
                    "reason": findings.status_reason,
                    "format": findings.format,
                },
            )


def note_waiting(*, version_id: int, reason: str) -> None:
    """Says in a Pending version, by this sentence, what the look at its files waits for."""
    pending = ModelVersion.objects.filter(pk=version_id, status=VersionStatus.PENDING)
    pending.update(status_reason=f"{reason} Its files are looked at again soon.")


def release_version(
    *, actor: Actor, project: Project, model_name: str, ref: str | int, note: str
) -> ModelVersion:
    """A maintainer answers for a Quarantined version: Ready again, with the note on record."""
    require(actor, project, Right.MAINTAIN)
    check_text("note", note, max_length=2000, required=True)
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        if version.status != VersionStatus.QUARANTINED:
            raise Conflict(f"Version {version.number} is {version.status}, not Quarantined.")
        reason = f"Released by {actor.user.username}: {note}"
        before = {"status": version.status, "reason": version.status_reason}
        _change(version, status=VersionStatus.READY, status_reason=reason)
        record(
            actor,
            "release_version",
            "version",
            version_label(version),
            project=project,
            before=before,
            after={"status": VersionStatus.READY, "reason": reason},
        )
    return version


def set_version_tag(
    *, actor: Actor, project: Project, model_name: str, ref: str | int, key: str, value: str
) -> VersionTag:
    """Sets one annotation; the same key again replaces its value."""
    require(actor, project, Right.WRITE)
    _check_annotations({key: value})
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        found = sql.row(SET_TAG, [version.pk, key, version.pk, key, value])
        before = found[0] if found else None
        if before != value:
            record(
                actor,
                "set_version_tag",
                "version",
                version_label(version),
                project=project,
                before={key: before},
                after={key: value},
                along=[sql.saving(version, updated_at=timezone.now())],
            )
    return VersionTag(version=version, key=key, value=value)


def log_validation_metrics(
    *, actor: Actor, project: Project, model_name: str, ref: str | int, metrics: Mapping[str, Any]
) -> ModelVersion:
    """Keeps what validating a version found, beside the metrics of its run; the same key again replaces its value."""
    require(actor, project, Right.WRITE)
    values = {
        key: check_number(f"metrics.{key}"[:120], value)
        for key, value in check_mapping("metrics", metrics, max_count=1000).items()
    }
    if not values:
        raise Invalid.field("metrics", "metrics is empty; name at least one.")
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        before = _validation_metrics(version, list(values))
        sql.rows(SET_VALIDATION, [version.pk, list(values), list(values.values())])
        _change(version)
        record(
            actor,
            "log_validation_metrics",
            "version",
            version_label(version),
            project=project,
            before=before,
            after={key: plain_number(value) for key, value in values.items()},
        )
    return version


def _validation_metrics(version: ModelVersion, keys: list[str]) -> dict[str, Any]:
    rows = version.metrics.filter(kind=MetricKind.VALIDATION, key__in=keys)
    return {row.key: plain_number(row.value) for row in rows}


def delete_version_tag(*, actor: Actor, project: Project, model_name: str, ref: str | int, key: str) -> None:
    """Removes one annotation."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        tag = None if "\0" in key else VersionTag.objects.filter(version=version, key=key).first()
        if tag is None:
            raise Missing(f"Version {version.number} has no annotation {shorten(key)}.", code="tag_not_found")
        tag.delete()
        _change(version)
        record(
            actor,
            "delete_version_tag",
            "version",
            version_label(version),
            project=project,
            before={key: tag.value},
        )


def version_label(version: ModelVersion) -> str:
    """How the audit trail names a version: `name/3`."""
    return f"{version.model.name}/{version.number}"


def _check_annotations(tags: object) -> dict[str, str]:
    found = check_mapping("tags", tags, max_count=100)
    return {key: check_text(f"tags.{key}"[:120], value, max_length=5000) for key, value in found.items()}


def _insert_model(actor: Actor, project: Project, values: dict[str, Any]) -> RegisteredModel | None:
    """The new row, or None where a living model has the name."""
    model = RegisteredModel(project=project, created_by=actor.user, **values)
    if not sql.insert(model, unless="(project_id, name) WHERE deleted_at IS NULL"):
        return None
    going_on = sql.Step(GO_ON_COUNTING, [project.pk, model.name, model.pk, model.pk])
    (former,) = record(
        actor, "register_model", "model", model.name, project=project, after=values, along=[going_on]
    )
    model.last_number = former or 0
    return model


def _model_to_count(actor: Actor, project: Project, name: str) -> RegisteredModel:
    """The model under its lock, registered on the way when there is none."""
    for _ in range(TRIES):  # others may register and delete the name meanwhile
        model = lock_model_unless_missing(project, name) or _insert_model(actor, project, {"name": name})
        if model is not None:
            return model
    raise Busy(f"{shorten(name)} is being registered and deleted by others.", "Try again.", retry_after=1)


def _settled(manifest: Manifest) -> dict[str, Any]:
    """What a worker found in the same files before, under the scan's rules of today; else nothing."""
    found = sql.row(KNOWN, [manifest.pk, RULES])
    return dict(zip(SETTLED, found, strict=True)) if found else {}


def _next_version(model: RegisteredModel, version: ModelVersion) -> ModelVersion:
    """Writes `version` with the locked model's next number; a worker looks at it where nobody has."""
    _numbered(model, version)
    _is_written(version, sql.together(_counting(version))[0])
    return version


def _numbered(model: RegisteredModel, version: ModelVersion) -> ModelVersion:
    """`version`, not yet written, with the locked model's next number."""
    version.model, version.number = model, model.last_number + 1
    return version


def _counting(version: ModelVersion) -> list[sql.Step]:
    """The steps that write a numbered version and count it."""
    model = version.model
    count = sql.Step(COUNT, [version.number, timezone.now(), model.pk])
    return [sql.inserting(version), count]


def _is_written(version: ModelVersion, pk: int) -> None:
    """Takes down what the database knows now, and has a worker look at what nobody has looked at."""
    version.pk = pk
    version._state.adding = False
    model = version.model
    model.last_number, model.latest_version_id = version.number, pk
    model.version_count += 1
    if version.status == VersionStatus.PENDING:
        enqueue("registry.inspect_version", key=f"inspect:{pk}", version_id=pk)


def _change(row: RegisteredModel | ModelVersion, **changes: Any) -> None:
    """Writes these fields and the time of the change."""
    sql.save(row, **changes, updated_at=timezone.now())
