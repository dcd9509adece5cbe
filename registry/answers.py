"""Models and versions as the REST API shows them: JSON made by PostgreSQL, one statement for a whole answer.

One answer and each line of a list have the same fields, those of ModelSerializer and VersionSerializer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any
from urllib.parse import quote

from django.conf import settings

from accounts.models import Project
from common import sql
from common.sql import TIME
from registry import holds
from registry.queries import find_model, find_version
from registry.refs import OF_ALIAS, key_of

MODEL = """
    SELECT m.name, NULL, json_build_object(
        'name', m.name, 'description', m.description, 'tags', to_json(m.tags),
        'latest_version', (SELECT json_build_object('version', v.number, 'stage', v.stage)
                           FROM registry_modelversion v WHERE v.id = m.latest_version_id),
        'production_version', (SELECT json_build_object('version', v.number) FROM registry_modelversion v
                               WHERE v.model_id = m.id AND v.stage = 'Production' AND v.deleted_at IS NULL
                               ORDER BY v.number DESC LIMIT 1),
        'version_count', m.version_count,
        'aliases', (SELECT coalesce(json_object_agg(a.name, v.number ORDER BY a.name), '{{}}')
                    FROM registry_alias a JOIN registry_modelversion v ON v.id = a.version_id
                    WHERE a.model_id = m.id),
        'live_endpoints', to_json(ARRAY(SELECT DISTINCT * FROM ({endpoints}) e ORDER BY 1)),
        'created_by', u.username, 'created_at', {created}, 'updated_at', {updated})::text
    FROM registry_registeredmodel m JOIN accounts_user u ON u.id = m.created_by_id
"""
VERSION = """
    SELECT m.name, v.number, json_build_object(
        'model_name', m.name, 'version', v.number, 'stage', v.stage, 'status', v.status,
        'status_reason', v.status_reason, 'description', v.description,
        'source_run_id', r.public_id, 'experiment_id', e.public_id, 'experiment_name', e.name,
        'artifact_path', v.artifact_path, 'manifest_digest', f.digest, 'file_count', f.file_count,
        'size', f.total_size, 'format', v.format, 'framework', v.framework, 'servable', v.servable,
        'servable_reason', v.servable_reason,
        'metrics', coalesce(x.training, '{{}}'), 'validation_metrics', coalesce(x.validation, '{{}}'),
        'params', (SELECT coalesce(json_object_agg(p.key, p.value ORDER BY p.key), '{{}}')
                   FROM registry_versionparam p WHERE p.version_id = v.id),
        'tags', (SELECT coalesce(json_object_agg(t.key, t.value ORDER BY t.key), '{{}}')
                 FROM registry_versiontag t WHERE t.version_id = v.id),
        'aliases', to_json(ARRAY(SELECT a.name FROM registry_alias a WHERE a.version_id = v.id ORDER BY a.name)),
        'parent', CASE WHEN o.id IS NULL THEN NULL ELSE
                  json_build_object('model_name', om.name, 'version', o.number, 'relation', v.relation) END,
        'origin', nullif(v.origin, '{{}}'),
        'created_by', u.username, 'created_by_door', v.created_by_door, 'created_at', {created},
        'updated_at', {updated})::text
    FROM registry_modelversion v
    JOIN registry_registeredmodel m ON m.id = v.model_id
    JOIN artifacts_manifest f ON f.id = v.manifest_id
    JOIN accounts_user u ON u.id = v.created_by_id
    LEFT JOIN tracking_run r ON r.id = v.source_run_id
    LEFT JOIN tracking_experiment e ON e.id = r.experiment_id
    LEFT JOIN registry_modelversion o ON o.id = v.parent_id
    LEFT JOIN registry_registeredmodel om ON om.id = o.model_id
    LEFT JOIN LATERAL (
        SELECT json_object_agg(c.key, c.value ORDER BY c.key) FILTER (WHERE c.kind = 'training') AS training,
               json_object_agg(c.key, c.value ORDER BY c.key) FILTER (WHERE c.kind = 'validation') AS validation
        FROM registry_versionmetric c WHERE c.version_id = v.id) x ON true
"""
NAMED = "WHERE m.project_id = %s AND m.name = %s AND m.deleted_at IS NULL"
OF_IDS = "WHERE {0}.id = ANY(%s) ORDER BY array_position(%s, {0}.id)"


@cache
def _models() -> str:
    """What floors above told of endpoints becomes part of the statement, so it waits until all are loaded."""
    return MODEL.format(
        endpoints=holds.endpoint_names(),
        created=TIME.format("m.created_at"),
        updated=TIME.format("m.updated_at"),
    )


@cache
def _versions(*conditions: str) -> str:
    times = {"created": TIME.format("v.created_at"), "updated": TIME.format("v.updated_at")}
    return " ".join([VERSION.format(**times), *conditions])


def model_answer(project: Project, name: str) -> str:
    """One model; Missing where there is none of this name."""
    found = sql.row(f"{_models()} {NAMED}", [project.pk, name])
    if found is None:
        find_model(project, name)
        return model_answer(project, name)
    return _with_url(project, *found)


def model_answers(project: Project, ids: Sequence[int]) -> list[str]:
    """The models with these ids, in their order."""
    statement = f"{_models()} {OF_IDS.format('m')}"
    return [_with_url(project, *found) for found in sql.rows(statement, [list(ids), list(ids)])]


def version_answer(project: Project, name: str, ref: str | int) -> str:
    """The version that `ref` names: a number, "v3", "latest" or an alias; else Missing."""
    found = _found(project, name, *key_of(ref, "m.id"))
    if found is None:
        version = find_version(find_model(project, name), ref)
        return version_answers(project, [version.pk])[0]
    return _with_url(project, *found)


def alias_answer(project: Project, name: str, alias: str) -> str | None:
    """The version that this alias points to, or None."""
    found = _found(project, name, OF_ALIAS.replace("MODEL", "m.id"), [alias])
    return None if found is None else _with_url(project, *found)


def _found(project: Project, name: str, key: str, values: Sequence[Any]) -> sql.Row | None:
    return sql.row(_versions(NAMED, f"AND v.id = {key}"), [project.pk, name, *values])


def version_answers(project: Project, ids: Sequence[int]) -> list[str]:
    """The versions with these ids, in their order."""
    statement = _versions(OF_IDS.format("v"))
    return [_with_url(project, *found) for found in sql.rows(statement, [list(ids), list(ids)])]


def _with_url(project: Project, name: str, number: int | None, text: str) -> str:
    """The address of the page put at the end; quoting is Python's, as in every other address."""
    url = f"{settings.PUBLIC_URL}/projects/{project.slug}/models/{quote(name, safe=PATH_SAFE)}"
    if number is not None:
        url += f"/versions/{number}"
    return f'{text[:-1]}, "url": {json.dumps(url + "/")}}}'


# What Django's reverse() leaves as it is.
PATH_SAFE = "/~:@!$&'()*+,;="
