"""Commands on runs; a run is recorded from Python, with `client.start_run`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from podstack.cli.door import Door, Noun, limited, pass_door, unasked
from podstack.cli.output import Column, Columns, compared_rows, print_side_by_side, size
from podstack.cli.words import pairs, read_json, versioned
from podstack.files import files_to_log, upload
from podstack.models import Run

STATUSES = click.Choice(["Running", "Completed", "Failed", "Killed"], case_sensitive=False)
ENDS = click.Choice(["Completed", "Failed", "Killed"], case_sensitive=False)
COLUMNS: Columns = {
    "ID": "id",
    "EXPERIMENT": "experiment_name",
    "NAME": "name",
    "STATUS": "status",
    "CREATED BY": "created_by",
    "STARTED": "started_at",
    "SECONDS": "duration_seconds",
}
NOT_FOR_PEOPLE = ("metric_summary",)
ALERTS: Columns = {
    "ALERT": "id",
    "CONDITION": "condition",
    "MESSAGE": "message",
    "FIRED": "fired_at",
    "VALUE": "fired_value",
    "STEP": "fired_step",
}
FILE_COLUMNS: Columns = {"PATH": "path", "SIZE": lambda file: size(file.size), "SHA256": "sha256"}


@click.group(cls=Noun)
def runs() -> None:
    """Runs: parameters, metrics and files of a training; RUN is an id, run-…."""


def columns_with(metrics: tuple[str, ...], params: tuple[str, ...]) -> Columns:
    """The usual columns and one for each metric and parameter asked for."""

    def of(field: str, key: str) -> Callable[[Any], Any]:
        return lambda answer: getattr(answer, field).get(key)

    more: dict[str, Column] = {key: of("metrics", key) for key in metrics}
    return {**COLUMNS, **more, **{key: of("params", key) for key in params}}


@runs.command("list")
@click.option("--experiment", metavar="EXPERIMENT", help="Those of one experiment, by id or name.")
@click.option("--status", type=STATUSES)
@click.option("--search", metavar="TEXT", help="Text in name, id or notes.")
@click.option("--parent", metavar="RUN", help="Those that are part of this run.")
@click.option("--deleted", is_flag=True, help="Those that were deleted; for maintainers.")
@click.option("--metric", "metrics", multiple=True, metavar="KEY", help="A column more; may be repeated.")
@click.option("--param", "params", multiple=True, metavar="KEY", help="A column more; may be repeated.")
@click.option("--order-by", metavar="FIELD", help="A field; -FIELD turns the order around.")
@limited
@pass_door
def list_runs(
    door: Door,
    experiment: str | None,
    status: str | None,
    search: str | None,
    parent: str | None,
    deleted: bool,
    metrics: tuple[str, ...],
    params: tuple[str, ...],
    order_by: str | None,
    limit: int | None,
) -> None:
    """List runs, the latest first."""
    found = door.client.list_runs(experiment, status, search, order_by, parent, deleted or None)
    door.show_all(found, columns_with(metrics, params), "runs", limit)


@runs.command("search")
@click.argument("expression", metavar="FILTER")
@click.option("--experiment", metavar="EXPERIMENT", help="In one experiment, by id or name.")
@click.option("--metric", "metrics", multiple=True, metavar="KEY", help="A column more; may be repeated.")
@click.option("--param", "params", multiple=True, metavar="KEY", help="A column more; may be repeated.")
@click.option("--order-by", metavar="FIELD", help="A field, metrics.KEY, min.KEY, max.KEY or params.KEY.")
@limited
@pass_door
def search_runs(
    door: Door,
    expression: str,
    experiment: str | None,
    metrics: tuple[str, ...],
    params: tuple[str, ...],
    order_by: str | None,
    limit: int | None,
) -> None:
    """List runs that FILTER describes, such as "metrics.loss < 0.4 and params.optimizer = 'adamw'"."""
    found = door.client.search_runs(expression, experiment_id=experiment, order_by=order_by)
    door.show_all(found, columns_with(metrics, params), "such runs", limit)


@runs.command("show")
@click.argument("run_id", metavar="RUN")
@pass_door
def show_run(door: Door, run_id: str) -> None:
    """Show a run with its parameters, last metrics and tags."""
    run = door.client.get_run(run_id)
    door.show(run, leave_out=NOT_FOR_PEOPLE)


@runs.command("update")
@click.argument("run_id", metavar="RUN")
@click.option("--name")
@click.option("--notes")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Set a tag; may be repeated.")
@click.option("--remove-tag", "removed", multiple=True, metavar="KEY", help="Remove a tag; may be repeated.")
@pass_door
def update_run(
    door: Door,
    run_id: str,
    name: str | None,
    notes: str | None,
    tags: tuple[str, ...],
    removed: tuple[str, ...],
) -> None:
    """Change what is given and leave the rest."""
    changed = {**dict.fromkeys(removed), **pairs(tags)}
    run = door.client.update_run(run_id, name, notes, changed or None)
    door.show(run, leave_out=NOT_FOR_PEOPLE)


@runs.command("metrics")
@click.argument("run_id", metavar="RUN")
@pass_door
def show_metrics(door: Door, run_id: str) -> None:
    """Show each metric's last, lowest and highest value."""
    summary = door.client.get_run(run_id).metric_summary
    if door.wants_json:
        door.show(summary)
        return
    rows = [{"key": key, "row": row} for key, row in summary.items()]
    columns: Columns = {
        "METRIC": "key",
        "LAST": lambda row: row["row"].last,
        "STEP": lambda row: row["row"].last_step,
        "LOWEST": lambda row: row["row"].min,
        "HIGHEST": lambda row: row["row"].max,
        "POINTS": lambda row: row["row"].count,
    }
    door.show_all(rows, columns, "metrics")


@runs.command("history")
@click.argument("run_id", metavar="RUN")
@click.argument("key")
@click.option("--from-step", type=int, help="The first step to show.")
@click.option("--to-step", type=int, help="The last step to show.")
@click.option("--points", type=int, help="At most so many, no peak lost; without it, all.")
@pass_door
def show_history(
    door: Door, run_id: str, key: str, from_step: int | None, to_step: int | None, points: int | None
) -> None:
    """Show the points of one metric."""
    history = door.client.get_metric_history(run_id, key, from_step, to_step, points)
    if door.wants_json:
        door.show(history)
        return
    found = zip(history.steps, history.values, history.timestamps, strict=True)
    rows = (
        {"step": step, "value": value, "at": datetime.fromtimestamp(at / 1000, UTC)}
        for step, value, at in found
    )
    door.show_all(rows, {"STEP": "step", "VALUE": "value", "TIME": "at"}, "points")


@runs.command("histories")
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN…")
@click.option("--key", "keys", multiple=True, required=True, help="A metric; several times.")
@click.option("--points", type=int, default=500, show_default=True, help="At most so many of each.")
@pass_door
def show_histories(door: Door, run_ids: tuple[str, ...], keys: tuple[str, ...], points: int) -> None:
    """Points of several metrics of several runs, read at once."""
    found = door.client.get_metric_histories(run_ids, keys, points=points)
    columns: Columns = {
        "RUN": "run_id",
        "METRIC": "key",
        "POINTS": "total",
        "FIRST": lambda series: series.values[0] if series.values else None,
        "LOWEST": lambda series: min(series.values, default=None),
        "HIGHEST": lambda series: max(series.values, default=None),
        "LAST": lambda series: series.values[-1] if series.values else None,
    }
    door.show_all(found, columns, "points")


@runs.command("compare")
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN…")
@pass_door
def compare(door: Door, run_ids: tuple[str, ...]) -> None:
    """Compare two to ten runs: metrics, parameters, tags, datasets, files."""
    found = door.client.compare_runs(run_ids)
    if door.wants_json:
        door.show(found)
        return
    print_side_by_side([run.id for run in found.runs], compared_rows(found))


@runs.command("export-metrics")
@click.argument("run_id", metavar="RUN")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--key", "keys", multiple=True, help="A metric; several times; without it, all.")
@pass_door
def export_metrics(door: Door, run_id: str, file: str, keys: tuple[str, ...]) -> None:
    """Write a run's metrics to FILE.csv or FILE.parquet, a row for each point."""
    path = door.client.export_metrics(run_id, file, keys)
    door.done(f"Written to {path}.", {"path": str(path)})


@runs.command("export")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--filter", "condition", metavar="EXPRESSION", help="In the filter language.")
@click.option("--experiment", metavar="EXPERIMENT", help="Those of one experiment.")
@click.option("--order-by", metavar="COLUMN", help="Such as -metrics.accuracy.")
@pass_door
def export_runs(
    door: Door, file: str, condition: str | None, experiment: str | None, order_by: str | None
) -> None:
    """Write runs to FILE.csv or FILE.parquet, a row for each."""
    path = door.client.export_runs(file, condition, experiment, order_by)
    door.done(f"Written to {path}.", {"path": str(path)})


@runs.command("files")
@click.argument("run_id", metavar="RUN")
@click.argument("path", default="")
@pass_door
def list_files(door: Door, run_id: str, path: str) -> None:
    """List a run's files, or those at and below PATH."""
    door.show_all(door.client.list_artifacts(run_id, path), FILE_COLUMNS, "files")


@runs.command("log-artifact")
@click.argument("run_id", metavar="RUN")
@click.argument("local_path", metavar="FILE_OR_FOLDER", type=click.Path(exists=True, path_type=Path))
@click.option("--to", "folder", metavar="FOLDER", help="The run's folder to put it in.")
@pass_door
def log_artifact(door: Door, run_id: str, local_path: Path, folder: str | None) -> None:
    """Store a file, or a folder with all it holds, in a run that is Running."""
    client = door.client
    files = upload(client.http, client.path(), client.path("runs", run_id), files_to_log(local_path, folder))
    stored = [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in files]
    door.done(f"Stored {len(stored)} file{'' if len(stored) == 1 else 's'} in {run_id}.", stored)


@runs.command("download")
@click.argument("run_id", metavar="RUN")
@click.argument("path", default="")
@click.option("--to", "folder", metavar="DIR", default=".", type=click.Path(file_okay=False))
@pass_door
def download_files(door: Door, run_id: str, path: str, folder: str) -> None:
    """Write a run's files, or those at and below PATH, to their paths below DIR."""
    written = door.client.download_artifacts(run_id, folder, path)
    door.done(f"{written} holds the files of {run_id}.", {"destination": str(written)})


@runs.command("end")
@click.argument("run_id", metavar="RUN")
@click.option("--status", type=ENDS, default="Completed", show_default=True)
@click.option("--error", default="", help="Why it failed.")
@pass_door
def end_run(door: Door, run_id: str, status: str, error: str) -> None:
    """End a run that is still Running."""
    door.show(_ended(door, run_id, status, error), leave_out=NOT_FOR_PEOPLE)


def _ended(door: Door, run_id: str, status: str, error: str) -> Run:
    path = door.client.path("runs", run_id, "end")
    return Run.from_json(door.client.http.call("POST", path, json={"status": status, "error": error}))


@runs.command("delete")
@click.argument("run_id", metavar="RUN")
@unasked
@pass_door
def delete_run(door: Door, run_id: str, yes: bool) -> None:
    """Delete a run with its metrics and files."""
    if not yes:
        run = door.client.get_run(run_id)
        door.ask_first(yes, f"Delete {run.id} of {run.experiment_name} with {run.artifact_count} files?")
    door.client.delete_run(run_id)
    door.done(f"Deleted {run_id}.")


@runs.command("kill")
@click.argument("run_id", metavar="RUN")
@click.option("--reason", default="", help="Why; it stands on the run's page.")
@pass_door
def kill_run(door: Door, run_id: str, reason: str) -> None:
    """End a running run as Killed."""
    door.show(door.client.kill_run(run_id, reason), NOT_FOR_PEOPLE)


@runs.command("restore")
@click.argument("run_id", metavar="RUN")
@pass_door
def restore_run(door: Door, run_id: str) -> None:
    """Bring a deleted run back; for maintainers."""
    door.show(door.client.restore_run(run_id), NOT_FOR_PEOPLE)


@runs.group("alerts", cls=Noun)
def alerts() -> None:
    """Conditions on a run's metrics that are watched while it runs."""


@alerts.command("list")
@click.argument("run_id", metavar="RUN")
@limited
@pass_door
def list_run_alerts(door: Door, run_id: str, limit: int | None) -> None:
    """List a run's alerts, fired or not."""
    door.show_all(door.client.list_run_alerts(run_id), ALERTS, "alerts", limit)


@alerts.command("create")
@click.argument("run_id", metavar="RUN")
@click.argument("condition")
@click.option("--message", default="", help="What it means when the condition is met.")
@pass_door
def create_run_alert(door: Door, run_id: str, condition: str, message: str) -> None:
    """Watch a condition such as "val_loss > 2.0"."""
    door.show(door.client.create_run_alert(run_id, condition, message))


@alerts.command("rm")
@click.argument("run_id", metavar="RUN")
@click.argument("alert_id", metavar="ALERT")
@pass_door
def delete_run_alert(door: Door, run_id: str, alert_id: str) -> None:
    """Take an alert away."""
    door.client.delete_run_alert(run_id, alert_id)
    door.done(f"Removed {alert_id}.")


@runs.command("inputs")
@click.argument("run_id", metavar="RUN")
@limited
@pass_door
def inputs(door: Door, run_id: str, limit: int | None) -> None:
    """The versions that a run started from."""
    columns: Columns = {"MODEL": "model_name", "VERSION": "version", "ASKED FOR": "ref"}
    door.show_all(door.client.list_run_inputs(run_id), columns, "inputs", limit)


@runs.command("use-model")
@click.argument("run_id", metavar="RUN")
@versioned()
@pass_door
def use_model(door: Door, run_id: str, model_name: str, version: str) -> None:
    """Record that a Running run starts from a version."""
    body = {"model_name": model_name, "version": version}
    answer = door.client.http.call("POST", door.client.path("runs", run_id, "inputs"), json=body)
    door.done(f"{run_id} starts from {model_name} {version}.", answer)


@runs.command("again")
@click.argument("run_id", metavar="RUN")
@click.option("--config", type=click.File("rb"), metavar="FILE", help="Another configuration; - is stdin.")
@pass_door
def again(door: Door, run_id: str, config: BinaryIO | None) -> None:
    """Start the training of a run once more, with the same code."""
    door.show(door.client.run_again(run_id, read_json(config) if config else None))
