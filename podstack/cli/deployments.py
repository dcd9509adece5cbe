"""Commands on endpoints."""

from __future__ import annotations

from typing import Any, BinaryIO

import click

from podstack.cli.door import Door, Noun, limited, pass_door, unasked
from podstack.cli.output import Columns, cell
from podstack.cli.words import read_json, versioned
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
waited = click.option("--wait", is_flag=True, help="Return once it answers; fail with the reason if not.")
timed = click.option("--timeout", type=float, default=120, show_default=True, help="Seconds to wait.")


@click.group(cls=Noun)
def deployments() -> None:
    """Endpoints that answer with a model's predictions."""


@deployments.command("list")
@click.option("--search", metavar="TEXT", help="Text in endpoint, model or description.")
@click.option("--model", "model_name", metavar="NAME", help="Those of one model.")
@click.option("--state", help="Active, Failed, …")
@limited
@pass_door
def list_deployments(
    door: Door, search: str | None, model_name: str | None, state: str | None, limit: int | None
) -> None:
    """List endpoints."""
    found = door.client.list_deployments(search=search, model_name=model_name, state=state)
    door.show_all(found, COLUMNS, "endpoints", limit)


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
@waited
@timed
@pass_door
def deploy(
    door: Door,
    model_name: str,
    version: str,
    endpoint_name: str,
    gpu_type: str | None,
    min_replicas: int,
    max_replicas: int,
    description: str,
    wait: bool,
    timeout: float,
) -> None:
    """Deploy a version to ENDPOINT_NAME; one that has the same model already is updated."""
    deployment = door.client.deploy_model(
        model_name, version, endpoint_name, gpu_type, min_replicas, max_replicas, description
    )
    _show(door, deployment, wait, timeout)


@deployments.command("update")
@click.argument("endpoint_name", metavar="ENDPOINT")
@click.option("--version", help="A number or an alias.")
@click.option("--gpu-type", metavar="TYPE", help='"" goes back to the CPU.')
@click.option("--min-replicas", type=int)
@click.option("--max-replicas", type=int)
@click.option("--description")
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


@deployments.command("undeploy")
@click.argument("endpoint_name", metavar="ENDPOINT")
@pass_door
def undeploy(door: Door, endpoint_name: str) -> None:
    """Take an endpoint down; its name and history stay."""
    door.show(door.client.undeploy(endpoint_name))


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
@pass_door
def predict(door: Door, endpoint_name: str, file: BinaryIO) -> None:
    """Ask an endpoint for one prediction per row.

    FILE, or stdin without one, holds rows in JSON: a list of lists of numbers, or of dictionaries by column; the
    whole body {"instances": rows} works too.
    """
    predictions = door.client.predict(endpoint_name, _rows(file))
    if door.wants_json:
        door.show({"predictions": predictions})
        return
    for prediction in predictions:
        click.echo(cell(prediction))


def _rows(file: BinaryIO) -> Any:
    rows = read_json(file)
    return rows["instances"] if isinstance(rows, dict) and "instances" in rows else rows
