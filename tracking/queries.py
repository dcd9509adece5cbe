"""Finding experiments and runs, and reading what runs recorded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from django.db.models import Q

from accounts.models import Project
from artifacts.models import Blob
from artifacts.paths import check_path
from common import sql
from common.checks import check_text, shorten
from common.errors import Conflict, Invalid, Missing
from tracking.choices import RunStatus
from tracking.models import Dataset, Experiment, Run, RunAlert, RunFile

EXPERIMENT_ID = re.compile(r"exp-[a-z0-9]{12}")
RUN_ID = re.compile(r"run-[a-z0-9]{6,32}")
MOST_NAMES = 10
# How many of the project's newest runs run now.
RUNNING_RUNS = """
    SELECT count(*) FROM (
        SELECT status, deleted_at FROM tracking_run WHERE project_id = %(project)s
        ORDER BY started_at DESC, id DESC LIMIT 500
    ) AS newest WHERE status = 'Running' AND deleted_at IS NULL
"""
KEEP_RUN = """
    SELECT {r} FROM tracking_run r
    WHERE r.project_id = %s AND r.public_id = %s AND r.deleted_at IS NULL FOR SHARE
"""
FILES_AT = """
    SELECT f.path, {b} FROM tracking_runfile f JOIN artifacts_blob b ON b.id = f.blob_id
    WHERE f.run_id = %s AND (f.path = %s OR starts_with(f.path, %s))
"""
DATASETS = """
    SELECT l.run_id, {d} FROM tracking_rundataset l JOIN tracking_dataset d ON d.id = l.dataset_id
    WHERE l.run_id = ANY(%s) ORDER BY l.id
"""


def experiment_by(project: Project, id_or_name: str) -> Experiment | None:
    """The experiment with this id or, where there is none, this name."""
    check_text("experiment_id", id_or_name, max_length=200, required=True)
    rows = Experiment.objects.filter(project=project).select_related("project")
    return rows.filter(public_id=id_or_name).first() or rows.filter(name=id_or_name).first()


def find_experiment(project: Project, id_or_name: str) -> Experiment:
    """The experiment with this id or name, or Missing."""
    found = experiment_by(project, id_or_name)
    if found is None:
        raise _no_experiment(project, id_or_name)
    return found


def _no_experiment(project: Project, id_or_name: str) -> Missing:
    return Missing(
        f"There is no experiment {shorten(id_or_name)} in {project.slug}.",
        "Check its id or name.",
        code="experiment_not_found",
    )


def find_run(project: Project, run_id: str) -> Run:
    """The run with this id, or Missing; deleted runs are not found."""
    check_text("run_id", run_id, max_length=40)
    rows = Run.objects.alive().filter(project=project, public_id=run_id)
    run = rows.select_related("experiment", "project").first()
    if run is None:
        raise _no_run(project, run_id)
    return run


def _no_run(project: Project, run_id: str) -> Missing:
    return Missing(
        f"There is no run {shorten(run_id)} in {project.slug}.", "Check its id.", code="run_not_found"
    )


def check_experiment(project: Project, id_or_name: str) -> None:
    """Missing where a list's filter names an experiment that is not there."""
    experiments = Experiment.objects.filter(project=project)
    if not experiments.filter(Q(public_id=id_or_name) | Q(name=id_or_name)).exists():
        raise _no_experiment(project, id_or_name)


def check_run(project: Project, run_id: str) -> None:
    """The same for a run. One in the trash is there: its children, and the versions made from it, are listed."""
    if not Run.objects.filter(project=project, public_id=run_id).exists():
        raise _no_run(project, run_id)


def lock_run(project: Project, run_id: str) -> Run:
    """The run under its row lock; Missing when it was deleted meanwhile."""
    rows = Run.objects.select_for_update(of=("self",)).select_related("project", "experiment")
    run = rows.get(pk=find_run(project, run_id).pk)
    return run if run.deleted_at is None else find_run(project, run_id)


def running_run(project: Project, run_id: str, *, alone: bool = False) -> Run:
    """The Running run, kept from ending until the transaction does; `alone`, from other calls of this kind too.

    It has only what logging needs: id, project, status and whether it has alerts; else Conflict or Missing.
    """
    lock = "NO KEY UPDATE" if alone else "SHARE"
    rows = Run.objects.raw(
        "SELECT id, project_id, public_id, status, has_alerts FROM tracking_run "  # noqa: S608
        f"WHERE project_id = %s AND public_id = %s AND deleted_at IS NULL FOR {lock}",
        [project.pk, check_text("run_id", run_id, max_length=40)],
    )
    run = next(iter(rows), None) or find_run(project, run_id)
    if run.status != RunStatus.RUNNING:
        raise run_ended(run, "and takes nothing more")
    return run


def run_ended(run: Run, what: str) -> Conflict:
    """The error that the run has ended; `what` goes on: "and takes nothing more"."""
    return Conflict(
        f"Run {run.public_id} has ended as {run.status} {what}.",
        f"Resume it first: start a run with the id {run.public_id}.",
        code="run_ended",
    )


def find_alert(run: Run, alert_id: str) -> RunAlert:
    """The run's alert with this id, or Missing."""
    check_text("alert_id", alert_id, max_length=40)
    alert = run.alerts.filter(public_id=alert_id).first()
    if alert is None:
        raise Missing(
            f"Run {run.public_id} has no alert {shorten(alert_id)}.",
            "Check its id.",
            code="alert_not_found",
        )
    return alert


def keep_run(project: Project, run_id: str) -> Run:
    """The run, held until the commit so that nobody deletes it under what is made of it; else Missing."""
    check_text("run_id", run_id, max_length=40)
    run = sql.one(Run, sql.expand(KEEP_RUN, r=Run), [project.pk, run_id])
    return run if run is not None else find_run(project, run_id)


def files_under(run: Run, artifact_path: str) -> dict[str, Blob]:
    """What lies at `artifact_path`: a file as {its name: blob}, a folder as {path relative to it: blob}.

    Invalid, naming what is there, when nothing lies there.
    """
    text = (
        artifact_path[:-1]
        if isinstance(artifact_path, str) and artifact_path.endswith("/")
        else artifact_path
    )
    path = check_path("artifact_path", text)
    found = {}
    for name, *blob in sql.rows(sql.expand(FILES_AT, b=Blob), [run.pk, path, f"{path}/"]):
        found[name.rpartition("/")[2] if name == path else name[len(path) + 1 :]] = sql.instance(
            Blob, tuple(blob)
        )
    if not found:
        raise Invalid.field(
            "artifact_path",
            f"Run {run.public_id} has no file and no folder at {shorten(path)}.",
            _what_is_there(run),
            code="nothing_at_artifact_path",
        )
    return found


def _what_is_there(run: Run) -> str:
    """A sentence with the names at the top of the run's files."""
    paths = run.files.order_by("path").values_list("path", flat=True)[:1000]
    names = list(dict.fromkeys(path.partition("/")[0] for path in paths))
    if not names:
        return "The run has no files; log one with log_artifact."
    more = ", …" if len(names) > MOST_NAMES else ""
    return f"There are: {', '.join(shorten(name) for name in names[:MOST_NAMES])}{more}."


def datasets_of(run: Run | None) -> list[Dataset]:
    """The datasets that a run used; none where there is no run."""
    return [] if run is None else datasets_of_runs([run.pk]).get(run.pk, [])


def datasets_of_runs(runs: Sequence[int]) -> dict[int, list[Dataset]]:
    """The same of several, by the run's key."""
    found: dict[int, list[Dataset]] = {}
    for run_id, *values in sql.rows(sql.expand(DATASETS, d=Dataset), [list(runs)]):
        found.setdefault(run_id, []).append(sql.instance(Dataset, tuple(values)))
    return found


def runs_that_use(blob_id: int) -> list[str]:
    """Each run file with these bytes, for an operator: `run-… of project: path`, deleted runs included."""
    rows = RunFile.objects.filter(blob=blob_id).values_list("run__public_id", "run__project__slug", "path")
    return [f"{run} of {project}: {path}" for run, project, path in rows]


def common_metrics(rows: Iterable[Iterable[str]], count: int) -> list[str]:
    """Of each run's or version's metrics those that most have: the columns of a list."""
    keys = Counter(key for names in rows for key in names)
    return sorted(keys, key=lambda key: (-keys[key], key))[:count]
