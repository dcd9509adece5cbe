"""Verbs on models, versions, aliases and annotations. Moving a stage is `approvals.services.transition_stage`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import JSONField, Value
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.models import Manifest
from artifacts.services import make_manifest
from common.checks import check_labels, check_mapping, check_pattern, check_text, shorten
from common.errors import Busy, Conflict, Invalid, Missing
from common.jobs import enqueue
from registry.choices import Stage, VersionStatus
from registry.holds import live_endpoints
from registry.models import (
    Alias,
    AliasMove,
    Inspection,
    ModelVersion,
    RegisteredModel,
    VersionMetric,
    VersionParam,
    VersionTag,
)
from registry.queries import LATEST, find_model, version_among
from serving.scan import RULES
from tracking.models import Run
from tracking.queries import files_under, find_run

MODEL_NAME = re.compile(
    r"(?!\.{1,2}\Z)[^/:\x00-\x1f\x7f\s](?:[^/:\x00-\x1f\x7f]{0,198}[^/:\x00-\x1f\x7f\s])?"
)
ALIAS_NAME = re.compile(r"[\w\-]+", re.ASCII)
RESERVED_ALIAS = re.compile(r"v?[0-9]+")
DESCRIPTION_LENGTH = 20_000
TRIES = 10
SETTLED = ("status", "status_reason", "format", "framework", "servable", "servable_reason")


def register_model(
    *, actor: Actor, project: Project, name: str, description: str = "", tags: Iterable[str] = ()
) -> RegisteredModel:
    """A new model. A name that a deleted model had goes on counting where that one stopped."""
    require(actor, project, Right.WRITE)
    values = {
        "name": _check_model_name(name),
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
        model = lock_model(find_model(project, name).pk)
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
) -> ModelVersion:
    """The next version: pins the files that lie under `artifact_path` of the run now, with its metrics and parameters.

    A model of this name is registered on the way when there is none. The version is Pending until a worker has
    looked at its files; files that were looked at before settle it at once.
    """
    require(actor, project, Right.WRITE)
    _check_model_name(model_name)
    check_text("description", description, max_length=DESCRIPTION_LENGTH)
    annotations = _check_annotations(tags or {})
    run = find_run(project, source_run_id)
    manifest = make_manifest(files_under(run, artifact_path))
    with transaction.atomic():
        _keep_run(run)
        model = _model_to_count(actor, project, model_name)
        version = _next_version(
            actor,
            model,
            source_run=run,
            artifact_path=artifact_path,
            manifest=manifest,
            description=description,
        )
        if version.status == VersionStatus.PENDING:
            enqueue("registry.inspect_version", key=f"inspect:{version.pk}", version_id=version.pk)
        _snapshot(version, run)
        VersionTag.objects.bulk_create(
            [VersionTag(version=version, key=key, value=value) for key, value in annotations.items()]
        )
        record(
            actor,
            "create_version",
            "version",
            f"{model.name}/{version.number}",
            project=project,
            after={"run": run.public_id, "artifact_path": artifact_path, "manifest": manifest.digest},
        )
    return version


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


def keep_inspection(*, manifest: Manifest, findings: Findings) -> None:
    """Keeps what was found, so that the next version with the same files is settled at once."""
    kept = {**asdict(findings), "rules": RULES, "created_at": timezone.now()}
    Inspection.objects.update_or_create(manifest=manifest, defaults=kept)


def settle_version(*, actor: Actor, version_id: int, findings: Findings) -> None:
    """Ends the waiting of a Pending version; one that is settled already stays as it is."""
    with transaction.atomic():
        version = ModelVersion.objects.select_related("model__project").get(pk=version_id)
        pending = ModelVersion.objects.filter(pk=version_id, status=VersionStatus.PENDING)
        if pending.update(**asdict(findings), updated_at=timezone.now()):
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
    annotation = _check_annotations({key: value})
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        before = VersionTag.objects.filter(version=version, key=key).values_list("value", flat=True).first()
        tag, _ = VersionTag.objects.update_or_create(
            version=version, key=key, defaults={"value": annotation[key]}
        )
        if before != value:
            _change(version)
            record(
                actor,
                "set_version_tag",
                "version",
                version_label(version),
                project=project,
                before={key: before},
                after={key: value},
            )
    return tag


def delete_version_tag(*, actor: Actor, project: Project, model_name: str, ref: str | int, key: str) -> None:
    """Removes one annotation."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        tag = VersionTag.objects.filter(version=version, key=key).first()
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


def set_alias(*, actor: Actor, project: Project, model_name: str, alias: str, version: str | int) -> Alias:
    """Points `alias` to a version, atomically, with its history; pointing where it points already changes nothing."""
    require(actor, project, Right.WRITE)
    _check_alias(alias)
    with transaction.atomic():
        model = lock_model(find_model(project, model_name).pk)
        target = version_among(ModelVersion.objects.all(), model, version)
        found = Alias.objects.filter(model=model, name=alias).select_related("version").first()
        if found is not None and found.version_id == target.pk:
            return found
        origin = found.version if found else None
        row, _ = Alias.objects.update_or_create(
            model=model, name=alias, defaults={"version": target, "updated_at": timezone.now()}
        )
        _alias_moved(actor, model, alias, origin, target)
    return row


def delete_alias(*, actor: Actor, project: Project, model_name: str, alias: str) -> None:
    """Removes an alias; its history stays."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        model = lock_model(find_model(project, model_name).pk)
        found = Alias.objects.filter(model=model, name=alias).select_related("version").first()
        if found is None:
            raise Missing(f"{model.name} has no alias {shorten(alias)}.", code="alias_not_found")
        found.delete()
        _alias_moved(actor, model, alias, found.version, None)


def delete_version(*, actor: Actor, project: Project, model_name: str, ref: str | int) -> None:
    """Takes a version away, with the aliases that point to it; its number is never given again."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        model = lock_model(find_model(project, model_name).pk)
        version = version_among(ModelVersion.objects.all(), model, ref)
        if version.stage == Stage.PRODUCTION:
            raise Conflict(
                f"Version {version.number} is in Production. Move it to Archived before deleting it.",
                "Transition to Archived first.",
                code="version_in_production",
            )
        _refuse_live(model, [name for name, pk in _endpoints(model) if pk == version.pk])
        _remove_versions(actor, model, [version])
        latest = ModelVersion.objects.filter(model=model, deleted_at=None).order_by("-number").first()
        _change(model, latest_version=latest, version_count=model.version_count - 1)
        record(actor, "delete_version", "version", version_label(version), project=project)


def delete_model(*, actor: Actor, project: Project, name: str, confirm: str | None = None) -> None:
    """Takes a model and all its versions away; its name is free again, its numbers are not.

    Where a version stands in Production, `confirm` must repeat the name. A live endpoint must be undeployed first.
    """
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        model = lock_model(find_model(project, name).pk)
        versions = list(ModelVersion.objects.filter(model=model, deleted_at=None).order_by("number"))
        _refuse_live(model, [name for name, _ in _endpoints(model)])
        _confirmed(model, versions, confirm)
        _remove_versions(actor, model, versions)
        _change(model, deleted_at=timezone.now(), latest_version=None, version_count=0)
        record(
            actor,
            "delete_model",
            "model",
            model.name,
            project=project,
            before={"versions": [v.number for v in versions]},
        )


def lock_model(model_id: int) -> RegisteredModel:
    """The model under its row lock; Missing when it was deleted meanwhile."""
    model = (
        RegisteredModel.objects.alive()
        .select_related("project")
        .select_for_update(of=("self",))
        .filter(pk=model_id)
        .first()
    )
    if model is None:
        raise Missing("The model was deleted meanwhile.", code="model_not_found")
    return model


def lock_version(version_id: int) -> ModelVersion:
    """The version with its model under their row locks, the model's first; Missing when deleted meanwhile."""
    model_id = ModelVersion.objects.values_list("model_id", flat=True).get(pk=version_id)
    model = lock_model(model_id)
    version = ModelVersion.objects.select_for_update().filter(pk=version_id, deleted_at=None).first()
    if version is None:
        raise Missing("The version was deleted meanwhile.", code="version_not_found")
    version.model = model
    return version


def lock_named_version(project: Project, model_name: str, ref: str | int) -> ModelVersion:
    """The version that `ref` names, looked up once its model is locked: an alias cannot move in between."""
    model = lock_model(find_model(project, model_name).pk)
    return version_among(ModelVersion.objects.select_for_update(of=("self",)), model, ref)


def version_label(version: ModelVersion) -> str:
    """How the audit trail names a version: `name/3`."""
    return f"{version.model.name}/{version.number}"


def _check_model_name(name: object) -> str:
    return check_pattern(
        "name", name, MODEL_NAME, "1 to 200 characters without '/', ':' or spaces at its ends", max_length=200
    )


def _check_alias(alias: object) -> str:
    text = check_pattern("alias", alias, ALIAS_NAME, "letters, digits, '_' and '-'", max_length=64)
    if text == LATEST or RESERVED_ALIAS.fullmatch(text):
        raise Invalid.field(
            "alias", f"alias is {shorten(text)}, which is reserved for version numbers.", "Choose a word."
        )
    return text


def _check_annotations(tags: object) -> dict[str, str]:
    found = check_mapping("tags", tags, max_count=100)
    return {key: check_text(f"tags.{key}"[:120], value, max_length=5000) for key, value in found.items()}


def _insert_model(actor: Actor, project: Project, values: dict[str, Any]) -> RegisteredModel | None:
    """The new row, or None where a living model has the name."""
    try:
        with transaction.atomic():
            model = RegisteredModel.objects.create(project=project, created_by=actor.user, **values)
    except IntegrityError:
        return None
    former = RegisteredModel.objects.filter(project=project, name=model.name).exclude(pk=model.pk)
    last = former.order_by("-last_number").values_list("last_number", flat=True).first()
    if last:
        _change(model, last_number=last)
    record(actor, "register_model", "model", model.name, project=project, after=values)
    return model


def _keep_run(run: Run) -> None:
    """Holds the run's row until the commit, so that nobody deletes it under the new version."""
    if not Run.objects.alive().select_for_update().filter(pk=run.pk).exists():
        raise Missing(f"Run {run.public_id} was deleted meanwhile.", code="run_not_found")


def _model_to_count(actor: Actor, project: Project, name: str) -> RegisteredModel:
    """The model under its lock, registered on the way when there is none."""
    rows = RegisteredModel.objects.alive().filter(project=project, name=name).select_for_update()
    for _ in range(TRIES):  # others may register and delete the name meanwhile
        model = rows.first() or _insert_model(actor, project, {"name": name})
        if model is not None:
            model.project = project
            return model
    raise Busy(f"{shorten(name)} is being registered and deleted by others.", "Try again.", retry_after=1)


def _next_version(
    actor: Actor,
    model: RegisteredModel,
    *,
    source_run: Run,
    artifact_path: str,
    manifest: Manifest,
    description: str,
) -> ModelVersion:
    model.last_number += 1
    known = Inspection.objects.filter(manifest=manifest, rules=RULES).values(*SETTLED).first()
    version = ModelVersion.objects.create(
        **(known or {}),
        model=model,
        number=model.last_number,
        source_run=source_run,
        artifact_path=artifact_path,
        manifest=manifest,
        description=description,
        created_by=actor.user,
        created_by_door=actor.door,
    )
    _change(
        model,
        last_number=model.last_number,
        latest_version=version,
        version_count=model.version_count + 1,
    )
    return version


def _snapshot(version: ModelVersion, run: Run) -> None:
    VersionMetric.objects.bulk_create(
        [VersionMetric(version=version, key=m.key, value=m.last) for m in run.metrics.all()]
    )
    VersionParam.objects.bulk_create(
        [VersionParam(version=version, key=p.key, value=_json(p.value)) for p in run.params.all()]
    )


def _json(value: Any) -> Any:
    """A JSON null as a value: None alone would be SQL's NULL, which the column refuses."""
    return Value(None, JSONField()) if value is None else value


def _change(row: RegisteredModel | ModelVersion, **changes: Any) -> None:
    """Writes these fields and the time of the change."""
    for field, value in {**changes, "updated_at": timezone.now()}.items():
        setattr(row, field, value)
    row.save(update_fields=[*changes, "updated_at"])


def _alias_moved(
    actor: Actor, model: RegisteredModel, alias: str, origin: ModelVersion | None, target: ModelVersion | None
) -> None:
    AliasMove.objects.create(
        model=model, name=alias, from_version=origin, to_version=target, actor=actor.user, door=actor.door
    )
    _change(model)
    record(
        actor,
        "set_alias" if target else "delete_alias",
        "alias",
        f"{model.name}@{alias}",
        project=model.project,
        before={"version": origin.number if origin else None},
        after={"version": target.number if target else None},
    )


def _endpoints(model: RegisteredModel) -> list[tuple[str, int]]:
    return live_endpoints([model.pk]).get(model.pk, [])


def _refuse_live(model: RegisteredModel, names: list[str]) -> None:
    endpoints = sorted(set(names))
    if endpoints:
        raise Conflict(
            f"{model.name} is served by the endpoint {', '.join(endpoints)}. Undeploy it first.",
            "Undeploy the endpoint, then delete.",
            code="live_endpoint",
            items=[f"endpoint {name}" for name in endpoints],
        )


def _confirmed(model: RegisteredModel, versions: list[ModelVersion], confirm: str | None) -> None:
    standing = [v.number for v in versions if v.stage == Stage.PRODUCTION]
    if standing and confirm != model.name:
        numbers = ", ".join(map(str, standing))
        raise Conflict(
            f"Version {numbers} of {model.name} is in Production; deleting the model deletes it too.",
            f"Say confirm={model.name} to delete all {len(versions)} versions.",
            code="confirmation_needed",
            items=[f"version {v.number} ({v.stage})" for v in versions],
        )


def _remove_versions(actor: Actor, model: RegisteredModel, versions: list[ModelVersion]) -> None:
    for alias in Alias.objects.filter(version__in=versions).select_related("version"):
        alias.delete()
        _alias_moved(actor, model, alias.name, alias.version, None)
    now = timezone.now()
    ModelVersion.objects.filter(pk__in=[v.pk for v in versions]).update(deleted_at=now, updated_at=now)
