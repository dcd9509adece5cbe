"""The verb that takes a version into another project, or under another name: the same files, a number of its own."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, find_project, require
from artifacts.models import Manifest
from artifacts.services import claim_manifest, share_blobs
from common.checks import check_text
from common.errors import Conflict, Invalid, Missing
from registry.choices import MetricKind, VersionStatus
from registry.elsewhere import Content, add_version, check_model_name
from registry.models import ModelVersion
from registry.queries import find_model, find_version
from registry.services import DESCRIPTION_LENGTH, version_label


def copy_version(
    *,
    actor: Actor,
    project: Project,
    model_name: str,
    ref: str | int,
    to_project: str,
    to_model: str | None = None,
    description: str | None = None,
) -> ModelVersion:
    """The version's files, metrics, parameters and annotations as the next version of `to_model` elsewhere.

    Needs reading here and writing there; None keeps the model's name, or the description. No byte is copied.
    The copy stands in no stage and has no aliases; a model that is not there is registered on the way.
    """
    require(actor, project, Right.READ)
    target = find_project(actor, to_project)
    require(actor, target, Right.WRITE)
    name = check_model_name("to_model", model_name if to_model is None else to_model)
    if description is not None:
        check_text("description", description, max_length=DESCRIPTION_LENGTH)
    with transaction.atomic():
        source = find_version(find_model(project, model_name), ref)
        _refuse_itself(source, target, name)
        refuse_unready(source)
        manifest = _claimed(source)
        share_blobs(target, manifest)
        content = _content(source, manifest, description)
        version = add_version(actor, target, name, content, _origin(actor, source))
        _record(actor, source, version)
    return version


def _refuse_itself(source: ModelVersion, target: Project, name: str) -> None:
    if (source.model.project_id, source.model.name) == (target.pk, name):
        raise Invalid.field(
            "to_model",
            f"to_model is {name!r} of {target.slug}, which has this version already.",
            "Name another project or another model.",
        )


def refuse_unready(source: ModelVersion) -> None:
    """Conflict unless the files were looked at and found safe."""
    if source.status == VersionStatus.READY:
        return
    pending = source.status == VersionStatus.PENDING
    raise Conflict(
        f"Version {source.number} of {source.model.name} is {source.status}; only a Ready one can be copied.",
        "Wait until its files were looked at." if pending else "A maintainer can release it with a note.",
        code="version_not_ready",
    )


def _claimed(source: ModelVersion) -> Manifest:
    """The files, kept from the collector until the copy refers to them."""
    manifest = claim_manifest(source.manifest.digest)
    if manifest is None:
        raise Missing(f"Version {source.number} was deleted meanwhile.", code="version_not_found")
    return manifest


def _content(source: ModelVersion, manifest: Manifest, description: str | None) -> Content:
    return Content(
        manifest=manifest,
        description=source.description if description is None else description,
        artifact_path=source.artifact_path,
        metrics=[(MetricKind(row.kind), row.key, row.value) for row in source.metrics.all()],
        params={row.key: row.value for row in source.params.all()},
        annotations={row.key: row.value for row in source.tags.all()},
        model_description=source.model.description,
        model_tags=list(source.model.tags),
    )


def _origin(actor: Actor, source: ModelVersion) -> dict[str, Any]:
    """What members of the target learn of the other project, and no more: which version it was and who copied it."""
    return {
        "kind": "copy",
        "project": source.model.project.slug,
        "model": source.model.name,
        "version": source.number,
        "manifest_digest": source.manifest.digest,
        "copied_at": timezone.now().isoformat(),
        "copied_by": actor.user.username,
    }


def _record(actor: Actor, source: ModelVersion, version: ModelVersion) -> None:
    """One entry in each project's trail."""
    here, there = source.model.project, version.model.project
    origin, copy = version_label(source), version_label(version)
    digest = source.manifest.digest
    record(
        actor,
        "create_version",
        "version",
        copy,
        project=there,
        after={"copied_from": f"{here.slug}/{origin}", "manifest": digest},
    )
    record(actor, "copy_version", "version", origin, project=here, after={"to": f"{there.slug}/{copy}"})
