"""Training as jobs of a Ray cluster, said and seen by REST.

A job has the execution's name, and a cluster takes a name once, so that nothing starts twice. Its package holds the
code, the SDK, and a runner that stands between the cluster and the program; all that the program wrote, and how it
ended, is read from the job's log.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster import packages
from cluster.dashboard import Dashboard
from cluster.errors import ClusterAway, ClusterRefused
from cluster.models import SubmittedJob
from scheduling.engines.base import EngineAway, EngineError, Seen, Work

HERE = Path(__file__).resolve().parent
SDK = HERE.parents[1] / "podstack"
SHIPPED = ("runner.py", "supervisor.py")
ENTRYPOINT = f"exec {shlex.join(['python', '-u', 'runner.py'])}"
STOP_SECONDS = 8  # the supervisor forces after 5
LOG_AWAITED = 30.0  # seconds; what ended longer ago than that and has no log lost it with its node
MARK = b"\x1epodstack "
BEGINS = MARK + b"begins\n"


class RayTraining:
    """Talks to the cluster by its dashboard."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.dashboard = dashboard

    def start(self, work: Work) -> None:
        with _told():
            if SubmittedJob.objects.filter(name=work.execution_id).exists():
                return
            package = packages.send(self.dashboard, _package(work))
            env = {**work.env, **work.made_secrets(), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
            wanted: dict[str, Any] = {
                "submission_id": work.execution_id,
                "entrypoint": ENTRYPOINT,
                "entrypoint_num_cpus": 1,
                "runtime_env": {"working_dir": package, "env_vars": env},
            }
            if work.memory is not None:
                wanted["entrypoint_memory"] = work.memory
            self.dashboard.submit_job(wanted)
            SubmittedJob.objects.get_or_create(name=work.execution_id)

    def observe(self, execution_id: str) -> Seen:
        with _told():
            job = self.dashboard.job(execution_id)
            if job is None:
                taken = SubmittedJob.objects.filter(name=execution_id).exists()
                return _lost("The cluster's head was lost, and the job with it.") if taken else Seen("absent")
            if job.get("status") in ("PENDING", "RUNNING"):
                return Seen("running")
            said = _said(self._whole_log(execution_id, job))
        stopped = job.get("status") == "STOPPED"
        if said is not None:
            # The cluster ends the program and its supervisor at once: the program's end is then seen before its reason.
            if stopped and said.get("reason") == "failed":
                said["reason"] = "killed"
            return Seen("ended", **said)
        if stopped:
            return Seen("ended", reason="killed")
        with _told():
            if self._node_is_gone(job):
                return _lost("The cluster's node on which it ran went down.")
        return _lost(f"The cluster says: {' '.join(str(job.get('message') or 'nothing').split())[:500]}")

    def stop(self, execution_id: str) -> None:
        with _told():
            self.dashboard.stop_job(execution_id)

    def log(self, execution_id: str, offset: int, limit: int) -> bytes:
        with _told():
            return _written(self._whole_log(execution_id, None))[offset : offset + limit]

    def log_size(self, execution_id: str) -> int:
        with _told():
            return len(_written(self._whole_log(execution_id, None)))

    def forget(self, execution_id: str) -> None:
        with _told():
            self.dashboard.delete_job(execution_id)
        SubmittedJob.objects.filter(name=execution_id).delete()

    def _whole_log(self, execution_id: str, job: dict[str, Any] | None) -> bytes:
        """All that the job wrote; b"" when it went with the job's node."""
        # The cluster's own line comes late and can stand amid the program's.
        own_line = f"Running entrypoint for job {execution_id}: {ENTRYPOINT}\n".encode()
        try:
            return self.dashboard.job_log(execution_id).replace(own_line, b"")
        except ClusterAway:
            job = job or self.dashboard.job(execution_id) or {}  # raises when the cluster is away indeed
            ended_at = job.get("end_time")  # milliseconds
            is_new = ended_at and time.time() - ended_at / 1000 < LOG_AWAITED
            if is_new and not self._node_is_gone(job):
                raise
            return b""

    def _node_is_gone(self, job: Mapping[str, Any]) -> bool:
        """Whether the node that ran the job, as far as one is known, lives no more."""
        node = job.get("driver_node_id")
        return bool(node) and node not in [one.node_id for one in self.dashboard.nodes()]


@contextmanager
def _told() -> Iterator[None]:
    """The cluster's errors as an engine's."""
    try:
        yield
    except ClusterAway as error:
        raise EngineAway(str(error)) from error
    except ClusterRefused as error:
        raise EngineError(str(error)) from error


def _package(work: Work) -> bytes:
    spec = {
        "command": list(work.command),
        "env": [*work.env, *work.secrets],
        "timeout": work.timeout,
        "memory": work.memory,
        "cpu": work.cpu,
        "file_size": work.file_size,
    }
    files = {
        **{name: (HERE / name).read_bytes() for name in SHIPPED},
        **packages.sources_of(SDK),
        "spec.json": json.dumps(spec).encode(),
        "configuration.json": json.dumps(work.configuration).encode(),
    }
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code"
        work.bring_code(code)
        files |= {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in code.rglob("*")
            if path.is_file()
        }
    return packages.zip_of(files)


def _written(log: bytes) -> bytes:
    """What the program itself wrote, without what the cluster and the runner say around it."""
    _, found, rest = log.partition(BEGINS)
    if not found:
        return b""
    end = rest.rfind(b"\n" + MARK)
    return rest if end < 0 else rest[:end]


def _said(log: bytes) -> dict[str, Any] | None:
    """How it ended, by the runner's last line."""
    line = log.rpartition(b"\n" + MARK)[2].partition(b"\n")[0]
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _lost(details: str) -> Seen:
    return Seen("lost", reason="lost", details=details)
