"""Models and versions under their row locks: a model's is taken first, then those of its versions.

No key is changed under them: who holds one keeps nobody from committing rows that refer to the model or version, which
PostgreSQL looks at when they are committed, maybe under a lock that the holder waits for.
"""

from __future__ import annotations

from accounts.models import Project
from common import sql
from common.errors import Missing
from registry.models import ModelVersion, RegisteredModel
from registry.queries import find_model, no_version
from registry.refs import NUMBER, key_of

LOCK_MODEL = """
    SELECT {m} FROM registry_registeredmodel m
    WHERE m.project_id = %s AND m.name = %s AND m.deleted_at IS NULL FOR NO KEY UPDATE
"""
LOCK_BOTH = """
    SELECT {v}, {m} FROM registry_registeredmodel m JOIN registry_modelversion v ON v.model_id = m.id
    WHERE m.project_id = %s AND m.name = %s AND m.deleted_at IS NULL AND v.number = %s AND v.deleted_at IS NULL
    FOR NO KEY UPDATE OF m, v
"""
LOCK_VERSION = """
    SELECT {v} FROM registry_modelversion v WHERE v.deleted_at IS NULL AND v.id = WHICH FOR NO KEY UPDATE
"""


def lock_model(project: Project, name: str) -> RegisteredModel:
    """The project's model of this name under its row lock, or Missing."""
    while True:
        model = lock_model_unless_missing(project, name)
        if model is not None:
            return model
        find_model(project, name)  # raises, unless somebody registered it this moment


def lock_model_unless_missing(project: Project, name: str) -> RegisteredModel | None:
    """The same, or None."""
    model = sql.one(RegisteredModel, sql.expand(LOCK_MODEL, m=RegisteredModel), [project.pk, name])
    if model is not None:
        model.project = project
    return model


def lock_named_version(project: Project, model_name: str, ref: str | int) -> ModelVersion:
    """The version that `ref` names, looked up once its model is locked: an alias cannot move in between."""
    match = NUMBER.fullmatch(str(ref))
    if match:
        found = sql.row(
            sql.expand(LOCK_BOTH, v=ModelVersion, m=RegisteredModel), [project.pk, model_name, int(match[1])]
        )
        if found is not None:
            version = sql.instance(ModelVersion, found[: sql.width(ModelVersion)])
            version.model = sql.instance(RegisteredModel, found[sql.width(ModelVersion) :])
            version.model.project = project
            return version
    return lock_version_of(lock_model(project, model_name), ref)


def lock_version_of(model: RegisteredModel, ref: str | int) -> ModelVersion:
    """The version of a locked model that `ref` names, under its lock too; else Missing."""
    key, values = key_of(ref)
    statement = sql.expand(LOCK_VERSION.replace("WHICH", key), v=ModelVersion)
    version = sql.one(ModelVersion, statement, [model.pk, *values])
    if version is None:
        raise no_version(model, ref)
    version.model = model
    return version


def lock_version(version_id: int) -> ModelVersion:
    """The version with its model under their row locks; Missing when deleted meanwhile."""
    version = ModelVersion.objects.alive().select_related("model__project").filter(pk=version_id).first()
    if version is None:
        raise Missing("The version was deleted meanwhile.", code="version_not_found")
    return lock_named_version(version.model.project, version.model.name, version.number)
