"""Lineage on a million edges: the graph of a node within depth 10 and 500 nodes, and its impact."""

from __future__ import annotations

import random
import time

import psycopg

from bench.load import Client
from bench.report import Row
from bench.servers import Server

RUNS = 250_000  # each with four edges: a dataset, its experiment, a version, that version's parent
ASKED = 200
MOST_MS = 100.0
SEED = """
    INSERT INTO accounts_project (slug, name, description, created_at) VALUES ('graph', 'graph', '', now());
    INSERT INTO accounts_membership (project_id, user_id, role, created_at)
    SELECT p.id, u.id, 'admin', now() FROM accounts_project p, accounts_user u
    WHERE p.slug = 'graph' AND u.username = 'admin';
    UPDATE accounts_apitoken SET project_id = NULL;
    INSERT INTO tracking_experiment (public_id, project_id, name, description, tags, created_by_id, created_at)
    SELECT 'exp-graph' || i, p.id, 'exp ' || i, '', '{}', u.id, now()
    FROM generate_series(1, 1000) i, accounts_project p, accounts_user u
    WHERE p.slug = 'graph' AND u.username = 'admin';
    ANALYZE tracking_experiment;
    INSERT INTO tracking_dataset (project_id, name, digest, path, description, created_at, bad_reason)
    SELECT p.id, 'data ' || i, '', '', '', now(), '' FROM generate_series(1, 5000) i, accounts_project p
    WHERE p.slug = 'graph';
    ANALYZE tracking_dataset;
    INSERT INTO tracking_run (public_id, project_id, experiment_id, name, status, created_by_id, started_at, notes, error,
                              code_version, environment, has_alerts, ended_at)
    SELECT 'run-graph' || i, p.id, x.id, 'run ' || i, 'Completed', u.id, now(), '', '', '', '{}', false, now()
    FROM generate_series(1, %(runs)s) i
    JOIN accounts_project p ON p.slug = 'graph'
    JOIN tracking_experiment x ON x.public_id = 'exp-graph' || (i %% 1000 + 1)
    JOIN accounts_user u ON u.username = 'admin';
    ANALYZE tracking_run;
    INSERT INTO tracking_rundataset (run_id, dataset_id, context)
    SELECT r.id, d.id, 'training' FROM tracking_run r
    JOIN accounts_project p ON p.id = r.project_id AND p.slug = 'graph'
    JOIN tracking_dataset d ON d.project_id = p.id AND d.name = 'data ' || (substr(r.public_id, 10)::int %% 5000 + 1);
    ANALYZE tracking_rundataset;
    INSERT INTO registry_registeredmodel
        (project_id, name, description, tags, last_number, version_count, created_by_id, created_at, updated_at)
    SELECT p.id, 'graph-' || i, '', '{}', 250, 250, u.id, now(), now()
    FROM generate_series(0, 999) i, accounts_project p, accounts_user u
    WHERE p.slug = 'graph' AND u.username = 'admin';
    ANALYZE registry_registeredmodel;
    INSERT INTO registry_modelversion
        (model_id, number, stage, status, status_reason, description, source_run_id, artifact_path, origin, relation,
         manifest_id, format, framework, servable, servable_reason, created_by_id, created_by_door, created_at,
         updated_at, former_aliases, is_sole)
    SELECT m.id, (n - 1) / 1000 + 1, 'None', 'Ready', '', '', r.id, 'w', '{}', '', f.id, '', '', false, '',
           m.created_by_id, 'rest', now(), now(), '{}', false
    FROM (SELECT id, project_id, substr(public_id, 10)::int AS n FROM tracking_run WHERE public_id LIKE 'run-graph%%') r
    JOIN registry_registeredmodel m ON m.project_id = r.project_id AND m.name = 'graph-' || (r.n - 1) %% 1000,
    (SELECT id FROM artifacts_manifest LIMIT 1) f;
    ANALYZE registry_modelversion;
    UPDATE registry_modelversion v SET parent_id = w.id, relation = 'fine_tuned'
    FROM registry_modelversion w, registry_registeredmodel m, accounts_project p
    WHERE v.model_id = w.model_id AND w.number = v.number / 2 AND v.number > 1 AND m.id = v.model_id
      AND p.id = m.project_id AND p.slug = 'graph';
    ANALYZE
"""


def lineage_rows(server: Server) -> list[Row]:
    """p95 of a version's, a run's, a dataset's and an experiment's graph, and of a dataset's impact."""
    with psycopg.connect(server.database_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as link:
        link.execute(SEED, {"runs": RUNS})
        found = link.execute(
            "SELECT id FROM tracking_dataset WHERE name LIKE 'data %' ORDER BY id"
        ).fetchall()
        counted = link.execute(
            "SELECT (SELECT count(*) FROM tracking_rundataset) + (SELECT count(*) FROM tracking_run) + "
            "(SELECT count(*) + count(parent_id) FROM registry_modelversion)"
        ).fetchone()
    data = [row[0] for row in found]
    dice = random.Random(1)
    base = "/api/v1/projects/graph"
    asked = {
        "of a version": lambda: f"lineage?node=version:graph-{dice.randrange(1000)}/{dice.randrange(1, 251)}",
        "of a run": lambda: f"lineage?node=run:run-graph{dice.randrange(1, RUNS)}",
        "of a dataset": lambda: f"lineage?node=dataset:{dice.choice(data)}",
        "of an experiment": lambda: f"lineage?node=experiment:exp-graph{dice.randrange(1, 1001)}",
    }
    note = f"{counted[0] if counted else 0:,} edges, depth 10, at most 500 nodes"
    rows = [_timed(server, f"lineage {name}", make, base, note) for name, make in asked.items()]
    impact = lambda: f"impact?node=dataset:{dice.choice(data)}"  # noqa: E731
    return [*rows, _timed(server, "impact of a dataset", impact, base, "all that depends on it")]


def _timed(server: Server, name: str, make: object, base: str, note: str) -> Row:
    client, times = Client(server.base, server.headers), []
    for _ in range(ASKED):
        begun = time.perf_counter()
        client.send(("GET", f"{base}/{make()}", None))  # type: ignore[operator]
        times.append((time.perf_counter() - begun) * 1000)
    p95 = sorted(times)[int(ASKED * 0.95)]
    return Row(f"{name}, p95", "ms", p95, None, MOST_MS / p95, 1, note)
