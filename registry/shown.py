"""A model and versions with all that their pages show, each by a prepared statement or two.

Composed by the ORM, the same cost more than half of a page's time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model

from accounts.models import Project, User
from artifacts.models import Manifest
from common import sql
from registry.holds import endpoint_names
from registry.models import (
    Alias,
    AliasMove,
    ModelVersion,
    RegisteredModel,
    StageTransition,
    VersionMetric,
    VersionParam,
    VersionTag,
)
from registry.refs import KEYS_OF_NUMBERS, key_of
from tracking.models import Experiment, Run

# Beside the model: its latest version's number and stage, and the number of the one in Production.
SUMMARY = """
    l.number, l.stage, (SELECT max(v.number) FROM registry_modelversion v
                        WHERE v.model_id = m.id AND v.stage = 'Production' AND v.deleted_at IS NULL)
"""
MODEL = """
    SELECT {m}, SUMMARY, {u} FROM registry_registeredmodel m
    JOIN accounts_user u ON u.id = m.created_by_id
    LEFT JOIN registry_modelversion l ON l.id = m.latest_version_id
    WHERE m.project_id = %s AND m.name = %s AND m.deleted_at IS NULL
""".replace("SUMMARY", SUMMARY)
MODELS = """
    SELECT {m}, SUMMARY, ARRAY(SELECT DISTINCT * FROM (ENDPOINTS) e ORDER BY 1)
    FROM registry_registeredmodel m LEFT JOIN registry_modelversion l ON l.id = m.latest_version_id
    WHERE m.id = ANY(%s)
""".replace("SUMMARY", SUMMARY)
ALIASES = """
    SELECT {a}, {v} FROM registry_alias a JOIN registry_modelversion v ON v.id = a.version_id
    WHERE a.model_id = %s ORDER BY a.name
"""
VERSIONS = """
    SELECT {v}, {f}, {u}, {r}, {e}, {p}, {o} FROM registry_modelversion v
    JOIN artifacts_manifest f ON f.id = v.manifest_id
    JOIN accounts_user u ON u.id = v.created_by_id
    LEFT JOIN tracking_run r ON r.id = v.source_run_id
    LEFT JOIN tracking_experiment e ON e.id = r.experiment_id
    LEFT JOIN registry_modelversion p ON p.id = v.parent_id
    LEFT JOIN registry_registeredmodel o ON o.id = p.model_id
    WHERE
"""
ROWS = """
    SELECT v.id, m.name, v.number, v.stage, v.status, v.format, f.total_size, r.public_id, u.username, v.created_at,
           ARRAY(SELECT a.name FROM registry_alias a WHERE a.version_id = v.id ORDER BY a.name), x.keys, x.values
    FROM registry_modelversion v
    JOIN registry_registeredmodel m ON m.id = v.model_id
    JOIN artifacts_manifest f ON f.id = v.manifest_id
    JOIN accounts_user u ON u.id = v.created_by_id
    LEFT JOIN tracking_run r ON r.id = v.source_run_id
    LEFT JOIN LATERAL (
        SELECT array_agg(c.key) AS keys, array_agg(c.value) AS values
        FROM registry_versionmetric c WHERE c.version_id = v.id AND c.kind = 'training') x ON true
    WHERE v.id = ANY(%s)
"""
PARTS = """
    SELECT 'metrics' AS part, id, version_id, kind, key, value AS number, NULL AS text, NULL::timestamptz AS at
    FROM registry_versionmetric WHERE version_id = ANY(%s)
    UNION ALL SELECT 'params', id, version_id, '', key, NULL, value::text, NULL
    FROM registry_versionparam WHERE version_id = ANY(%s)
    UNION ALL SELECT 'tags', id, version_id, '', key, NULL, value, NULL
    FROM registry_versiontag WHERE version_id = ANY(%s)
    UNION ALL SELECT 'aliases', id, version_id, '', name, NULL, NULL, updated_at
    FROM registry_alias WHERE version_id = ANY(%s)
    ORDER BY part, kind, key
"""
TRANSITIONS = """
    SELECT {t}, {v}, {u} FROM registry_stagetransition t
    JOIN registry_modelversion v ON v.id = t.version_id JOIN accounts_user u ON u.id = t.actor_id
    WHERE OF ORDER BY t.id DESC LIMIT %s
"""
OF_MODEL, OF_VERSION = "v.model_id = %s", "t.version_id = %s"
ALIAS_MOVES = """
    SELECT {m}, {f}, {t}, {u} FROM registry_aliasmove m
    LEFT JOIN registry_modelversion f ON f.id = m.from_version_id
    LEFT JOIN registry_modelversion t ON t.id = m.to_version_id JOIN accounts_user u ON u.id = m.actor_id
    WHERE m.model_id = %s ORDER BY m.id DESC LIMIT %s
"""
KINDS_OF_PARTS = ("metrics", "params", "tags", "aliases")


def read_models(keys: list[int]) -> list[RegisteredModel]:
    """The models of these keys as rows of a list, in no order: with their summary and their live endpoints."""
    statement = sql.expand(MODELS.replace("ENDPOINTS", endpoint_names()), m=RegisteredModel)
    models = []
    for row in sql.rows(statement, [keys]):
        model, endpoints = _summed_up(row)
        model.live_endpoints = endpoints
        models.append(model)
    return models


def read_model(project: Project, name: str) -> RegisteredModel | None:
    """The project's model of this name with its summary, its aliases, and who made it."""
    found = sql.row(sql.expand(MODEL, m=RegisteredModel, u=User), [project.pk, name])
    if found is None:
        return None
    model, *maker = _summed_up(found)
    model.created_by, model.project = sql.instance(User, tuple(maker)), project
    aliases = []
    for row in sql.rows(sql.expand(ALIASES, a=Alias, v=ModelVersion), [model.pk]):
        alias, alias.version = sql.instances(row, Alias, ModelVersion)
        aliases.append(alias)
    sql.keep(model, "aliases", aliases)
    return model


def _summed_up(row: sql.Row) -> list[Any]:
    """The model with its summary, and what else the row holds."""
    width = sql.width(RegisteredModel)
    model = sql.instance(RegisteredModel, row[:width])
    model.latest_number, model.latest_stage, model.production_number = row[width : width + 3]
    return [model, *row[width + 3 :]]


def read_version(model: RegisteredModel, ref: str | int) -> ModelVersion | None:
    """The model's version that `ref` names, with its parent, run, files and further rows."""
    key, values = key_of(ref)
    found = _read_versions(model, f"v.id = {key}", values)
    return found[0] if found else None


def read_numbers(model: RegisteredModel, numbers: list[int]) -> list[ModelVersion]:
    """Those of these numbers, with the same, in no order."""
    return _read_versions(model, f"v.id = ANY({KEYS_OF_NUMBERS})", [numbers])


def _read_versions(model: RegisteredModel, condition: str, values: list[Any]) -> list[ModelVersion]:
    statement = sql.expand(
        VERSIONS, v=ModelVersion, f=Manifest, u=User, r=Run, e=Experiment, p=ModelVersion, o=RegisteredModel
    )
    versions = [_version(row) for row in sql.rows(statement + condition, [model.pk, *values])]
    for version in versions:
        version.model = model
    if versions:
        _add_parts(versions)
    return versions


@dataclass(frozen=True)
class VersionRow:
    """A version as a row of a list; `run` is its source run's id, and `metrics` are that run's."""

    pk: int
    model_name: str
    number: int
    stage: str
    status: str
    format: str
    size: int
    run: str | None
    author: str
    created_at: datetime
    aliases: list[str]
    metrics: dict[str, float]


def read_rows(keys: list[int]) -> list[VersionRow]:
    """The versions of these keys as rows of a list, in no order."""
    found = []
    for *row, names, values in sql.rows(ROWS, [keys]):
        row.append(dict(zip(names or (), values or (), strict=True)))
        found.append(VersionRow(*row))
    return found


def _version(row: sql.Row) -> ModelVersion:
    version, manifest, maker, run, experiment, parent, parents_model = sql.instances(
        row, ModelVersion, Manifest, User, Run, Experiment, ModelVersion, RegisteredModel
    )
    version.manifest, version.created_by, version.source_run, version.parent = manifest, maker, run, parent
    if run is not None:
        run.experiment = experiment
    if parent is not None:
        parent.model = parents_model
    return version  # type: ignore[no-any-return]


def _add_parts(versions: Sequence[ModelVersion]) -> None:
    keys = [version.pk for version in versions]
    parts: dict[tuple[int, str], list[Model]] = {}
    by_key = {version.pk: version for version in versions}
    for part, pk, version_id, kind, key, number, text, at in sql.rows(PARTS, [keys] * len(KINDS_OF_PARTS)):
        of: dict[str, Any] = {"id": pk, "version_id": version_id}
        if part == "metrics":
            row: Model = VersionMetric(**of, kind=kind, key=key, value=number)
        elif part == "params":
            row = VersionParam(**of, key=key, value=json.loads(text))
        elif part == "tags":
            row = VersionTag(**of, key=key, value=text)
        else:
            row = Alias(**of, model_id=by_key[version_id].model_id, name=key, updated_at=at)
        parts.setdefault((version_id, part), []).append(row)
    for version in versions:
        for part in KINDS_OF_PARTS:
            sql.keep(version, part, parts.get((version.pk, part), []))


def read_transitions(of: str, key: int, most: int) -> list[StageTransition]:
    """The newest moves between stages of one of the two conditions above, with their version and who moved it."""
    statement = sql.expand(TRANSITIONS.replace("OF", of), t=StageTransition, v=ModelVersion, u=User)
    moves = []
    for row in sql.rows(statement, [key, most]):
        move, move.version, move.actor = sql.instances(row, StageTransition, ModelVersion, User)
        moves.append(move)
    return moves


def read_alias_moves(model: RegisteredModel, most: int) -> list[AliasMove]:
    """The newest moves of the model's aliases, with both versions and who moved it."""
    statement = sql.expand(ALIAS_MOVES, m=AliasMove, f=ModelVersion, t=ModelVersion, u=User)
    moves = []
    for row in sql.rows(statement, [model.pk, most]):
        move, move.from_version, move.to_version, move.actor = sql.instances(
            row, AliasMove, ModelVersion, ModelVersion, User
        )
        moves.append(move)
    return moves
