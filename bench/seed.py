"""Fills both registries by SQL: many models with three versions each, and one model with very many versions.

What is asked for later is known by number: model `i` is called `seed-<i>-<md5(i)>`, has the label `tag<i % 1000>` and
the word `topic<i % 1000>` in its description, and one in a hundred has its second version in Production.
"""

from __future__ import annotations

import hashlib

import psycopg

TAGS, STAGED, SMALL_TAGS = 1000, 100, 20
SMALL_VERSIONS = 200  # of the model `long` there
OURS = """
    INSERT INTO registry_registeredmodel
        (project_id, name, description, tags, last_number, version_count, created_by_id, created_at, updated_at)
    SELECT p.id, 'seed-' || i || '-' || md5(i::text), 'Model ' || md5((i * 7)::text) || ' on topic'
               || lpad((i %% %(tags)s)::text, 4, '0'), ARRAY['tag' || i %% %(tags)s], 3, 3,
           u.id, now() - i * interval '1 second', now() - i * interval '1 second'
    FROM generate_series(1, %(count)s) i, accounts_project p, accounts_user u
    WHERE p.slug = %(project)s AND u.username = 'admin';
    INSERT INTO registry_modelversion
        (model_id, number, stage, status, status_reason, description, source_run_id, artifact_path, origin, relation,
         manifest_id, format, framework, servable, servable_reason, created_by_id, created_by_door, created_at,
         updated_at, former_aliases, is_sole)
    SELECT m.id, n, CASE WHEN n = 2 AND m.id %% %(staged)s = 0 THEN 'Production' ELSE 'None' END, 'Ready', '', '',
           r.id, 'weights.txt', '{}', '', f.id, '', '', false, '', m.created_by_id, 'rest', m.created_at,
           m.created_at, '{}', false
    FROM registry_registeredmodel m, generate_series(1, 3) n,
         (SELECT id FROM tracking_run LIMIT 1) r, (SELECT id FROM artifacts_manifest LIMIT 1) f, accounts_project p
    WHERE m.project_id = p.id AND p.slug = %(project)s AND m.name LIKE 'seed-%%';
    UPDATE registry_registeredmodel m SET latest_version_id = v.id
    FROM registry_modelversion v WHERE v.model_id = m.id AND v.number = 3 AND m.name LIKE 'seed-%%';
    INSERT INTO registry_versionmetric (version_id, kind, key, value)
    SELECT v.id, 'training', 'accuracy', random() FROM registry_modelversion v
    JOIN registry_registeredmodel m ON m.id = v.model_id JOIN accounts_project p ON p.id = m.project_id
    WHERE p.slug = %(project)s AND m.name LIKE 'seed-%%'
"""
OURS_LONG = """
    INSERT INTO registry_registeredmodel
        (project_id, name, description, tags, last_number, version_count, created_by_id, created_at, updated_at)
    SELECT p.id, 'long', '', '{}', %(count)s, %(count)s, u.id, now(), now()
    FROM accounts_project p, accounts_user u WHERE p.slug = %(project)s AND u.username = 'admin';
    INSERT INTO registry_modelversion
        (model_id, number, stage, status, status_reason, description, source_run_id, artifact_path, origin, relation,
         manifest_id, format, framework, servable, servable_reason, created_by_id, created_by_door, created_at,
         updated_at, former_aliases, is_sole)
    SELECT m.id, n, 'None', 'Ready', '', '', r.id, 'weights.txt', '{}', '', f.id, '', '', false, '',
           m.created_by_id, 'rest', m.created_at, m.created_at, '{}', false
    FROM registry_registeredmodel m, generate_series(1, %(count)s) n,
         (SELECT id FROM tracking_run LIMIT 1) r, (SELECT id FROM artifacts_manifest LIMIT 1) f
    WHERE m.name = 'long' AND m.latest_version_id IS NULL;
    UPDATE registry_registeredmodel m SET latest_version_id = v.id
    FROM registry_modelversion v WHERE v.model_id = m.id AND v.number = %(count)s AND m.name = 'long'
"""
SMALL = """
    INSERT INTO accounts_project (slug, name, description, created_at) VALUES ('small', 'small', '', now());
    INSERT INTO accounts_membership (project_id, user_id, role, created_at)
    SELECT p.id, u.id, 'admin', now() FROM accounts_project p, accounts_user u
    WHERE p.slug = 'small' AND u.username = 'admin';
    UPDATE accounts_apitoken SET project_id = NULL
"""
THEIRS = """
    INSERT INTO registered_models (name, creation_time, last_updated_time, description)
    SELECT 'seed-' || i || '-' || md5(i::text), t - i * 1000, t - i * 1000, 'Model ' || md5((i * 7)::text) || ' on topic'
        || lpad((i %% %(tags)s)::text, 4, '0')
    FROM generate_series(1, %(count)s) i, (SELECT (extract(epoch FROM now()) * 1000)::bigint AS t) now;
    INSERT INTO registered_model_tags (key, value, name)
    SELECT 'team', 'tag' || i %% %(tags)s, 'seed-' || i || '-' || md5(i::text)
    FROM generate_series(1, %(count)s) i;
    INSERT INTO model_versions
        (name, version, creation_time, last_updated_time, current_stage, source, run_id, status, description)
    SELECT m.name, n, m.creation_time, m.creation_time, 'None', 'file:///x', %(run)s, 'READY', ''
    FROM registered_models m, generate_series(1, 3) n WHERE m.name LIKE 'seed-%%'
"""
THEIRS_LONG = """
    INSERT INTO registered_models (name, creation_time, last_updated_time, description) VALUES ('long', 0, 0, '');
    INSERT INTO model_versions
        (name, version, creation_time, last_updated_time, current_stage, source, run_id, status, description)
    SELECT 'long', n, n, n, 'None', 'file:///x', %(run)s, 'READY', '' FROM generate_series(1, %(count)s) n
"""


def seed_ours(database_url: str, models: int, versions: int) -> None:
    """`models` in the project default, 1,000 in the project small, and in both the model `long`."""
    with psycopg.connect(database_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as link:
        link.execute(SMALL)
        # In the small project as many models have a tag and stand in Production as in the large one of 50,000.
        for project, count, tags, staged in (
            ("default", models, TAGS, STAGED),
            ("small", 1000, SMALL_TAGS, 2),
        ):
            link.execute(OURS, {"project": project, "count": count, "tags": tags, "staged": staged})
        link.execute(OURS_LONG, {"project": "default", "count": versions})
        link.execute(OURS_LONG, {"project": "small", "count": SMALL_VERSIONS})
        link.execute("VACUUM (ANALYZE)")  # as autovacuum does within a minute


def seed_theirs(database_url: str, models: int, versions: int, run: str) -> None:
    """The same for the other server, in its own tables."""
    with psycopg.connect(database_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as link:
        link.execute(THEIRS, {"count": models, "tags": TAGS, "run": run})
        link.execute(THEIRS_LONG, {"count": versions, "run": run})
        link.execute("VACUUM (ANALYZE)")  # as autovacuum does within a minute


def word(number: int) -> str:
    """Four letters that stand in the names of a few seeded models."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()[:4]
