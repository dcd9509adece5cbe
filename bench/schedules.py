"""Ten thousand active schedules: what one look of the clock takes, and how late what is due starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from bench.report import Row
from bench.servers import ROOT, Server, settings_of
from podstack import MLOpsClient

ACTIVE, DUE = 10_000, 170  # so many are due each minute where each runs hourly
MOST_SECONDS, MOST_LATE = 1.0, 2.0
PROBES, APART = 40, 1.5  # seconds between two that are due: workers are free meanwhile
SEED = """
    INSERT INTO scheduling_schedule (project_id, name, experiment_id, cron, timezone, configuration, overlap, catch_up,
        timeout, max_attempts, model_name, artifact_path, promote_metric, promote_stage, engine, next_at, created_by_id,
        acts_as_id, created_at, updated_at)
    SELECT e.project_id, 'many-' || i, e.id, i %% 60 || ' 2 * * *', 'Europe/Berlin', '{}', 'skip', 'last', 60, 1, '', '',
        '', '', '', now() + interval '1 day', e.created_by_id,
        e.created_by_id, now(), now()
    FROM generate_series(1, %s) i, tracking_experiment e WHERE e.name = 'bench-schedules';
    ANALYZE scheduling_schedule
"""
LOOK = """
import time
from django.db import transaction
from django.utils import timezone
from scheduling.models import Schedule
from scheduling.ticks import tick
for due in (0, {due}, {active}):
    with transaction.atomic():
        some = Schedule.objects.filter(name__startswith="many-").order_by("id").values("pk")[:due]
        Schedule.objects.filter(pk__in=some).update(next_at=timezone.now())
        begun = time.perf_counter()
        assert tick() == due
        print(time.perf_counter() - begun)
        transaction.set_rollback(True)
"""
LATE = """
    SELECT extract(epoch FROM r.started_at - e.due_at)::float FROM scheduling_scheduleexecution e
    JOIN tracking_run r ON r.id = e.run_id  -- it begins when a worker has taken the start
    JOIN scheduling_schedule s ON s.id = e.schedule_id WHERE s.name LIKE 'probe-%' ORDER BY 1
"""


def schedule_rows(server: Server, folder: Path) -> list[Row]:
    """Seconds of a tick with none, some and all of them due, and how late a start is at p99."""
    settings = settings_of(folder)
    client = MLOpsClient(
        api_token=server.headers["Authorization"].split()[1], api_endpoint=server.base, project="default"
    )
    client.create_experiment("bench-schedules")
    with tempfile.TemporaryDirectory() as code:
        (Path(code) / "train.py").write_text("")
        client.upload_training_code("bench-schedules", code, ["true"])
    with psycopg.connect(server.database_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as link:
        link.execute(SEED, [ACTIVE])
    looks = _looks(settings)
    names = (f"tick, {ACTIVE:,} active, none due", f"tick, {DUE} of them due", "tick, all of them due")
    rows = [
        Row(name, "s", took, None, MOST_SECONDS / took, 1 if index < 2 else None, "")
        for index, (name, took) in enumerate(zip(names, looks, strict=True))
    ]
    late = _starts(server, client)
    p99 = late[min(len(late) - 1, int(len(late) * 0.99))]
    note = f"p50 {late[len(late) // 2]:.2f} s of {len(late)} starts"
    return [*rows, Row("start after it was due, p99", "s", p99, None, MOST_LATE / p99, 1, note)]


def _looks(settings: dict[str, str]) -> list[float]:
    command = [sys.executable, "manage.py", "shell", "-c", LOOK.format(due=DUE, active=ACTIVE)]
    environ = {**os.environ, **settings}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()[-3:]]


def _starts(server: Server, client: MLOpsClient) -> list[float]:
    for number in range(PROBES):
        client.create_schedule(f"probe-{number}", "bench-schedules", "0 0 1 1 *")
    with psycopg.connect(server.database_url, autocommit=True) as link:
        link.execute(
            "UPDATE scheduling_schedule SET next_at = now() + (5 + %s * substr(name, 7)::int) * interval '1 s' "
            "WHERE name LIKE 'probe-%%'",
            [APART],
        )
        end = time.monotonic() + 5 + APART * PROBES + 60
        while time.monotonic() < end:
            late = [row[0] for row in link.execute(LATE).fetchall()]
            if len(late) == PROBES:
                return late
            time.sleep(1)
    raise RuntimeError(f"{PROBES - len(late)} did not start.")
