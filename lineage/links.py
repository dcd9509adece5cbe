"""What leads to what: the tables of the floors below, read as edges of one graph.

An edge goes from the cause to what came of it, so that "downstream" is what depends on a thing.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("dataset", "experiment", "code", "execution", "run", "version", "alias", "revision", "endpoint")


@dataclass(frozen=True)
class Link:
    """Rows of `table` that lead from the thing in `origin_column` to the one in `target_column`.

    `relation` is SQL over the row `e`.
    """

    origin: str
    target: str
    relation: str
    table: str
    origin_column: str
    target_column: str

    @property
    def both_known(self) -> str:
        return f"e.{self.origin_column} IS NOT NULL AND e.{self.target_column} IS NOT NULL"


LINKS = (
    Link(
        "dataset",
        "run",
        "coalesce(nullif(e.context, ''), 'used by')",
        "tracking_rundataset",
        "dataset_id",
        "run_id",
    ),
    Link("experiment", "run", "'contains'", "tracking_run", "experiment_id", "id"),
    Link("run", "run", "'started'", "tracking_run", "parent_id", "id"),
    Link("run", "version", "'produced'", "registry_modelversion", "source_run_id", "id"),
    Link("version", "version", "e.relation", "registry_modelversion", "parent_id", "id"),
    Link("version", "run", "'used by'", "registry_runinput", "version_id", "run_id"),
    Link("version", "alias", "'known as'", "registry_alias", "version_id", "id"),
    Link("version", "revision", "'deployed as'", "deployments_deploymentrevision", "version_id", "id"),
    Link("revision", "endpoint", "'of'", "deployments_deploymentrevision", "id", "deployment_id"),
    Link("code", "execution", "'ran as'", "scheduling_scheduleexecution", "code_id", "id"),
    Link("execution", "run", "'logged'", "scheduling_scheduleexecution", "id", "run_id"),
)


def steps(downstream: bool, each: int | None) -> str:
    """SQL of the neighbours of the row `w` (kind, id): at most `each` by one link, or all."""
    limit = f"LIMIT {each}" if each is not None else ""
    branches = []
    for link in LINKS:
        here, there, column, other = (
            (link.origin, link.target, link.origin_column, link.target_column)
            if downstream
            else (link.target, link.origin, link.target_column, link.origin_column)
        )
        branches.append(
            f"(SELECT '{there}'::text AS kind, e.{other}::bigint AS id FROM {link.table} e "  # noqa: S608
            f"WHERE w.kind = '{here}' AND e.{column} = w.id AND {link.both_known} {limit})"
        )
    return " UNION ALL ".join(branches)


def edges_among() -> str:
    """SQL of all edges whose ends both stand in the arrays %(<kind>)s."""
    return " UNION ALL ".join(
        f"SELECT '{link.origin}', e.{link.origin_column}::bigint, '{link.target}', "  # noqa: S608
        f"e.{link.target_column}::bigint, {link.relation}::text FROM {link.table} e "
        f"WHERE e.{link.origin_column} = ANY(%({link.origin})s) AND e.{link.target_column} = ANY(%({link.target})s)"
        for link in LINKS
    )


def neighbours_counted(downstream: bool, most: int) -> str:
    """SQL of (kind, id, kind of its neighbours, how many, at most `most`) for all things in the arrays."""
    counted = []
    for link in LINKS:
        here, there, column = (
            (link.origin, link.target, link.origin_column)
            if downstream
            else (link.target, link.origin, link.target_column)
        )
        counted.append(
            f"SELECT '{here}', s.id, '{there}', (SELECT count(*) FROM (SELECT 1 FROM {link.table} e "  # noqa: S608
            f"WHERE e.{column} = s.id AND {link.both_known} LIMIT {most}) x) FROM unnest(%({here})s::bigint[]) s(id)"
        )
    return " UNION ALL ".join(counted)


# What is told of each kind: kind, key, name, status, what finds its page, whether it was deleted.
THINGS = {
    "dataset": """
        SELECT 'dataset', t.id, t.name, CASE WHEN t.bad_at IS NULL THEN '' ELSE 'Bad' END,
               jsonb_build_array(t.id), false, t.created_at
        FROM tracking_dataset t WHERE t.id = ANY(%(dataset)s) AND t.project_id = %(project)s""",
    "experiment": """
        SELECT 'experiment', t.id, t.name, CASE WHEN t.archived_at IS NULL THEN '' ELSE 'Archived' END,
               jsonb_build_array(t.public_id), false, t.created_at
        FROM tracking_experiment t WHERE t.id = ANY(%(experiment)s) AND t.project_id = %(project)s""",
    "code": """
        SELECT 'code', t.id, x.name || ' code ' || t.number, '', jsonb_build_array(x.public_id, t.number), false,
               t.created_at
        FROM scheduling_trainingcode t JOIN tracking_experiment x ON x.id = t.experiment_id
        WHERE t.id = ANY(%(code)s) AND x.project_id = %(project)s""",
    "execution": """
        SELECT 'execution', t.id, s.name || ' ' || to_char(t.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
               t.state, jsonb_build_array(t.public_id), false, t.created_at
        FROM scheduling_scheduleexecution t JOIN scheduling_schedule s ON s.id = t.schedule_id
        WHERE t.id = ANY(%(execution)s) AND s.project_id = %(project)s""",
    "run": """
        SELECT 'run', t.id, coalesce(nullif(t.name, ''), t.public_id), t.status, jsonb_build_array(t.public_id),
               t.deleted_at IS NOT NULL, t.started_at
        FROM tracking_run t WHERE t.id = ANY(%(run)s) AND t.project_id = %(project)s""",
    "version": """
        SELECT 'version', t.id, m.name || ' v' || t.number, CASE WHEN t.status = 'Ready' THEN t.stage ELSE t.status END,
               jsonb_build_array(m.name, t.number), t.deleted_at IS NOT NULL OR m.deleted_at IS NOT NULL, t.created_at
        FROM registry_modelversion t JOIN registry_registeredmodel m ON m.id = t.model_id
        WHERE t.id = ANY(%(version)s) AND m.project_id = %(project)s""",
    "alias": """
        SELECT 'alias', t.id, '@' || t.name, '', jsonb_build_array(m.name, t.name), false, t.updated_at
        FROM registry_alias t JOIN registry_registeredmodel m ON m.id = t.model_id
        WHERE t.id = ANY(%(alias)s) AND m.project_id = %(project)s""",
    "revision": """
        SELECT 'revision', t.id, d.endpoint_name || ' r' || t.number, t.state,
               jsonb_build_array(d.endpoint_name, t.number), d.wanted = 'Deleted', t.created_at
        FROM deployments_deploymentrevision t JOIN deployments_deployment d ON d.id = t.deployment_id
        WHERE t.id = ANY(%(revision)s) AND d.project_id = %(project)s""",
    "endpoint": """
        SELECT 'endpoint', t.id, t.endpoint_name, t.state, jsonb_build_array(t.endpoint_name), t.wanted = 'Deleted',
               t.created_at
        FROM deployments_deployment t WHERE t.id = ANY(%(endpoint)s) AND t.project_id = %(project)s""",
}
ALL_THINGS = " UNION ALL ".join(THINGS.values())
