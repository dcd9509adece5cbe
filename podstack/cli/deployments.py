"""Commands on endpoints."""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO

import click

from podstack.cli.door import Door, Noun, limited, pass_door, unasked
from podstack.cli.output import Columns, cell
from podstack.cli.words import Command, pairs, read_json, versioned
from podstack.models import Deployment

COLUMNS: Columns = {
    "ENDPOINT": "endpoint_name",
    "MODEL": "model_name",
    "VERSION": "version",
    "SERVING": "serving_version",
    "STATE": "state",
    "GPU": "gpu_type",
    "UPDATED": "updated_at",
}
REVISIONS: Columns = {
    "REVISION": "revision",
    "VERSION": "version",
    "STATE": "state",
    "BY": "created_by",
    "ASKED": "created_at",
    "REASON": "reason",
}
EVENTS: Columns = {"AT": "at", "STATE": "state", "REVISION": "revision", "WHAT": "message"}
TRAFFIC: Columns = {
    "REVISION": "revision",
    "VERSION": "version",
    "SHADOW": "shadow",
    "REQUESTS": lambda each: each.counts.requests,
    "ERRORS": lambda each: each.counts.errors,
    "P50 MS": lambda each: each.counts.p50_ms,
    "P95 MS": lambda each: each.counts.p95_ms,
    "P99 MS": lambda each: each.counts.p99_ms,
    "AGREED": "agreed",
    "DIFFERED": "differed",
}
waited = click.option("--wait", is_flag=True, help="Return once it answers; fail with the reason if not.")
timed = click.option("--timeout", type=float, default=120, show_default=True, help="Seconds to wait.")


def wished(command: Command) -> Command:
    """The options that deploying and changing share; those that are left out are not passed on."""

    @wraps(command)
    def asked(*args: Any, canary: str | None, at_once: bool, replace: bool, **options: Any) -> Any:
        limits = {name: options.pop(name) for name in ("bake_seconds", "max_error_rate", "max_p95_ms")}
        set_limits = {name: value for name, value in limits.items() if value is not None}
        if set_limits and not canary:
            raise click.UsageError(f"--{next(iter(set_limits)).replace('_', '-')} needs --canary.")
        if len(list(filter(None, (canary, at_once, replace)))) > 1:
            raise click.UsageError("--canary, --at-once and --replace are three ways; name one.")
        rollout: dict[str, Any] | None = {} if at_once else {"replace": True} if replace else None
        if canary:
            rollout = {"steps": _steps(canary), **set_limits}
        return command(*args, rollout=rollout, **options)

    for option in reversed(WISHES):
        asked = option(asked)
    return asked


WISHES = (
    click.option(
        "--follow/--no-follow", default=None, help="Follow an alias as it moves; the default for one."
    ),
    click.option(
        "--idle-seconds", type=int, help="Sleep after so long without requests, with --min-replicas 0."
    ),
    click.option("--max-batch-size", type=int, help="Rows joined to one call of the model."),
    click.option("--max-delay-ms", type=int, help="How long a request waits for others at most."),
    click.option("--canary", metavar="PERCENTS", help="Move traffic by steps: 10,50."),
    click.option("--at-once", is_flag=True, help="Move all traffic at once again."),
    click.option("--replace", is_flag=True, help="End what serves first, where there is room for one only."),
    click.option("--bake-seconds", type=int, help="How long each step lasts.  [default: 60]"),
    click.option("--max-error-rate", type=float, help="Share of errors that rolls back.  [default: 0.05]"),
    click.option("--max-p95-ms", type=float, help="95th percentile of latency that rolls back."),
    click.option("--engine", type=click.Choice(["local", "ray"]), help="Where it runs."),
    click.option("--rate-limit", type=int, metavar="PER_SECOND", help="0 is none."),
    click.option("--timeout-seconds", type=int, help="That an answer may take."),
    click.option("--max-body-bytes", type=int, help="Largest request; 0 is the platform's limit."),
)


def _steps(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise click.UsageError(f"--canary is {text!r}; write percentages as in 10,50.") from error


@click.group(cls=Noun)
def deployments() -> None:
    """Endpoints that answer with a model's predictions."""


@deployments.command("list")
@click.option("--search", metavar="TEXT", help="Text in endpoint, model or description.")
@click.option("--model", "model_name", metavar="NAME", help="Those of one model.")
@click.option("--state", help="Active, Failed, …")
@click.option("--follows", metavar="ALIAS", help="Those that follow this alias.")
@click.option("--engine", metavar="NAME", help="Those that run on local or ray.")
@limited
@pass_door
def list_deployments(door: Door, /, limit: int | None, **asked: str | None) -> None:
    """List endpoints."""
    door.show_all(door.client.list_deployments(**asked), COLUMNS, "endpoints", limit)


@deployments.command("show")
@click.argument("endpoint_name", metavar="ENDPOINT")
@pass_door
def show_deployment(door: Door, endpoint_name: str) -> None:
    """Show an endpoint as it is now."""
    door.show(door.client.get_deployment(endpoint_name))


@deployments.command("deploy")
@versioned("endpoint_name")
@click.option("--gpu-type", metavar="TYPE", help="T4, A100, …; without it, the CPU.")
@click.option("--min-replicas", type=int, default=1, show_default=True)
@click.option("--max-replicas", type=int, default=1, show_default=True)
@click.option("--description", default="")
@wished
@waited
@timed
@pass_door
def deploy(
    door: Door,
    /,
    model_name: str,
    version: str,
    endpoint_name: str,
    gpu_type: str | None,
    min_replicas: int,
    max_replicas: int,
    description: str,
    wait: bool,
    timeout: float,
    **wishes: Any,
) -> None:
    """Deploy a version to ENDPOINT_NAME; one that has the same model already is updated."""
    deployment = door.client.deploy_model(
        model_name, version, endpoint_name, gpu_type, min_replicas, max_replicas, description, **wishes
    )
    _show(door, deployment, wait, timeout)


@deployments.command("update")
@click.argument("endpoint_name", metavar="ENDPOINT")
@click.option("--version", help="A number or an alias.")
@click.option("--gpu-type", metavar="TYPE", help='"" goes back to the CPU.')
@click.option("--min-replicas", type=int)
@click.option("--max-replicas", type=int)
@click.option("--description")
@wished
@waited
@timed
@pass_door
def update_deployment(door: Door, /, endpoint_name: str, wait: bool, timeout: float, **changes: Any) -> None:
    """Change what is given and leave the rest."""
    _show(door, door.client.update_deployment(endpoint_name, **changes), wait, timeout)


@deployments.command("wait")
@click.argument("endpoint_name", metavar="ENDPOINT")
@timed
@pass_door
def wait_for_deployment(door: Door, endpoint_name: str, timeout: float) -> None:
    """Return once an endpoint answers; fail with the reason if it does not."""
    _show(door, door.client.get_deployment(endpoint_name), True, timeout)


def _show(door: Door, deployment: Deployment, wait: bool, timeout: float) -> None:
    door.show(deployment.wait(timeout) if wait else deployment)


@deployments.command("rollback")
@click.argument("endpoint_name", metavar="ENDPOINT")
@click.option("--revision", type=int, help="Without it, the last that served before.")
@waited
@timed
@pass_door
def rollback_deployment(
    door: Door, endpoint_name: str, revision: int | None, wait: bool, timeout: float
) -> None:
    """Go back to an earlier revision, at once."""
    _show(door, door.client.rollback_deployment(endpoint_name, revision), wait, timeout)


@deployments.command("promote")
@click.argument("endpoint_name", metavar="ENDPOINT")
@pass_door
def promote_rollout(door: Door, endpoint_name: str) -> None:
    """Move all traffic to the canary now."""
    door.show(door.client.promote_rollout(endpoint_name))


@deployments.command("abort")
@click.argument("endpoint_name", metavar="ENDPOINT")
@pass_door
def abort_rollout(door: Door, endpoint_name: str) -> None:
    """Give up the change that is on its way; what serves goes on."""
    door.show(door.client.abort_rollout(endpoint_name))


@deployments.command("shadow")
@click.argument("endpoint_name", metavar="ENDPOINT")
@click.argument("version", required=False)
@click.option("--off", is_flag=True, help="End the copies.")
@pass_door
def shadow(door: Door, endpoint_name: str, version: str | None, off: bool) -> None:
    """Send copies of all requests to VERSION, whose answers are compared and never given."""
    if off == (version is not None):
        raise click.UsageError("Give a version, or --off.")
    client = door.client
    door.show(client.unset_shadow(endpoint_name) if off else client.set_shadow(endpoint_name, version or ""))


@deployments.command("revisions")
@click.argument("endpoint_name", metavar="ENDPOINT")
@limited
@pass_door
def list_revisions(door: Door, endpoint_name: str, limit: int | None) -> None:
    """List what was asked of an endpoint, newest first."""
    door.show_all(door.client.list_deployment_revisions(endpoint_name), REVISIONS, "revisions", limit)


@deployments.command("events")
@click.argument("endpoint_name", metavar="ENDPOINT")
@limited
@pass_door
def list_events(door: Door, endpoint_name: str, limit: int | None) -> None:
    """List what happened to an endpoint, newest first."""
    door.show_all(door.client.list_deployment_events(endpoint_name), EVENTS, "events", limit)


@deployments.command("metrics")
@click.argument("endpoint_name", metavar="ENDPOINT")
@click.option("--hours", type=int, default=1, show_default=True)
@pass_door
def metrics(door: Door, endpoint_name: str, hours: int) -> None:
    """Show requests, errors and latencies by revision; with --json also over time."""
    found = door.client.get_deployment_metrics(endpoint_name, hours)
    if door.wants_json:
        door.show(found)
    else:
        door.show_all(found.revisions, TRAFFIC, f"requests in {hours} h")


@deployments.command("logs")
@click.argument("endpoint_name", metavar="ENDPOINT")
@click.option("--tail", type=int, default=200, show_default=True)
@click.option("--replica", metavar="ID")
@click.option("--search", metavar="TEXT", help="Lines with this text only.")
@click.option("--revision", type=int)
@pass_door
def logs(door: Door, /, endpoint_name: str, **asked: Any) -> None:
    """Show the last lines that the endpoint's processes wrote."""
    lines = door.client.get_deployment_logs(endpoint_name, **asked)
    if door.wants_json:
        door.show({"lines": lines})
        return
    for line in lines:
        click.echo(line)


@deployments.command("gpu-types")
@click.option("--engine", type=click.Choice(["local", "ray"]))
@pass_door
def list_gpu_types(door: Door, engine: str | None) -> None:
    """List the GPU types that may be asked for, and whether there is one now."""
    found = door.client.list_gpu_types(engine)
    door.show_all(found, {"GPU": "name", "THERE": "is_there"}, "GPU types")


@deployments.command("undeploy")
@click.argument("endpoint_name", metavar="ENDPOINT")
@pass_door
def undeploy(door: Door, endpoint_name: str) -> None:
    """Take an endpoint down; its name and history stay."""
    door.show(door.client.undeploy(endpoint_name))


@deployments.command("deploy-again")
@click.argument("endpoint_name", metavar="ENDPOINT")
@waited
@timed
@pass_door
def redeploy(door: Door, endpoint_name: str, wait: bool, timeout: float) -> None:
    """Start an endpoint that is down or failed, as it was."""
    _show(door, door.client.redeploy(endpoint_name), wait, timeout)


@deployments.command("delete")
@click.argument("endpoint_name", metavar="ENDPOINT")
@unasked
@pass_door
def delete_deployment(door: Door, endpoint_name: str, yes: bool) -> None:
    """Delete an endpoint that is Inactive or Failed."""
    if not yes:
        shown = door.client.get_deployment(endpoint_name)
        door.ask_first(yes, f"Delete the endpoint {endpoint_name} of {shown.model_name} ({shown.state})?")
    door.client.delete_deployment(endpoint_name)
    door.done(f"Deleted {endpoint_name}.")


@deployments.command("predict")
@click.argument("endpoint_name", metavar="ENDPOINT")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--set",
    "parameters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Such as method=predict_proba; may be repeated.",
)
@pass_door
def predict(door: Door, endpoint_name: str, file: BinaryIO, parameters: tuple[str, ...]) -> None:
    """Ask an endpoint for one prediction per row.

    FILE, or stdin without one, holds rows in JSON: a list of lists of numbers, or of dictionaries by column; the
    whole body {"instances": rows} works too.
    """
    predictions = door.client.predict(endpoint_name, _rows(file), parameters=pairs(parameters) or None)
    if door.wants_json:
        door.show({"predictions": predictions})
        return
    for prediction in predictions:
        click.echo(cell(prediction))


def _rows(file: BinaryIO) -> Any:
    rows = read_json(file)
    return rows["instances"] if isinstance(rows, dict) and "instances" in rows else rows


@deployments.command("batch-predict")
@click.argument("endpoint_name", metavar="ENDPOINT")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--to",
    "target",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the answers go; else FILE.predictions.jsonl.",
)
@pass_door
def batch_predict(door: Door, endpoint_name: str, file: Path, target: Path | None) -> None:
    """Ask an endpoint for a prediction for each row of FILE, CSV with a header line or JSON lines.

    The answers are JSON lines: {"row", "prediction"}, or {"row", "error"} for a row that the model does not take. A
    run that breaks leaves what it has in a file that ends with .part; the next one begins anew.
    """
    output = target or file.with_name(f"{file.name}.predictions.jsonl")
    summary = door.client.batch_predict(endpoint_name, file, output, on_progress=_counted)
    if sys.stderr.isatty():
        click.echo(err=True)
    if door.wants_json:
        door.show({"rows": summary.rows, "failed": summary.failed, "output": str(summary.output)})
        return
    door.done(f"{summary.rows} rows answered, {summary.failed} of them with an error, in {summary.output}.")


def _counted(done: int) -> None:
    if done % 1000 == 0 and sys.stderr.isatty():
        click.echo(f"\r{done} rows answered", nl=False, err=True)
