"""Commands on lineage, impact and datasets."""

from __future__ import annotations

from typing import Any

import click

from podstack.cli.door import Door, Noun, limited, pass_door
from podstack.cli.output import Columns

NODES: Columns = {"ID": "id", "NAME": "name", "STATUS": "status"}
DATASETS: Columns = {
    "ID": "id",
    "NAME": "name",
    "PATH": "path",
    "DIGEST": "digest",
    "RUNS": "run_count",
    "BAD": "bad_reason",
}


@click.group(cls=Noun)
def lineage() -> None:
    """Where things came from, and what depends on them. NODE is version:NAME/3, run:ID, dataset:12, endpoint:NAME, …"""


@lineage.command("show")
@click.argument("node")
@click.option("--direction", type=click.Choice(["both", "upstream", "downstream"]), default="both")
@click.option("--depth", type=int, default=10, show_default=True, help="Edges away, at most.")
@pass_door
def show_lineage(door: Door, node: str, direction: str, depth: int) -> None:
    """What led to a thing, and what came of it."""
    found = door.client.get_lineage(node=node, direction=direction, depth=depth)
    if door.wants_json:
        door.show(found)
        return
    door.show_all(found.nodes, NODES, "nodes")
    for edge in found.edges:
        click.echo(f"{edge.origin} -> {edge.target} ({edge.relation})")
    if found.truncated:
        door.say("More is connected than is shown.")


@lineage.command("impact")
@click.argument("node")
@pass_door
def impact(door: Door, node: str) -> None:
    """What depends on a thing."""
    found = door.client.get_impact(node=node)
    if door.wants_json:
        door.show(found)
        return
    door.show_all([*found.versions, *found.aliases, *found.endpoints], NODES, "things that depend on it")
    door.say(", ".join(f"{count} {kind}" for kind, count in found.counts.items()))


@lineage.command("notify")
@click.argument("node")
@click.argument("message")
@pass_door
def notify(door: Door, node: str, message: str) -> None:
    """Tell the owners of what depends on a thing."""
    names = door.client.notify_owners(node, message)
    door.done(f"Told: {', '.join(names) or 'nobody'}.")


@lineage.command("quarantine")
@click.argument("node")
@click.argument("reason")
@click.option("--endpoints", type=click.Choice(["keep", "undeploy"]), help="Those that serve such a version.")
@pass_door
def quarantine(door: Door, node: str, reason: str, endpoints: str | None) -> None:
    """Quarantine every version that depends on a thing."""
    _moved(door, "quarantined", door.client.quarantine_impact(node, reason, endpoints))


@lineage.command("release")
@click.argument("node")
@pass_door
def release(door: Door, node: str) -> None:
    """Release what was quarantined because of a thing."""
    _moved(door, "released", door.client.release_impact(node))


def _moved(door: Door, done: str, found: Any) -> None:
    door.done(f"{len(found.versions)} versions are {done}, {found.untouched} stayed as they were.")


@lineage.command("events")
@click.argument("node")
@click.option("--direction", type=click.Choice(["both", "upstream", "downstream"]), default="both")
@pass_door
def events(door: Door, node: str, direction: str) -> None:
    """The runs of the graph as OpenLineage events."""
    door.show({"events": door.client.get_lineage_events(node=node, direction=direction)})


@click.group(cls=Noun)
def datasets() -> None:
    """Data that runs used."""


@datasets.command("list")
@click.option("--search", metavar="TEXT", help="Text in the name.")
@click.option("--bad/--good", default=None, help="Those marked bad, or the others.")
@limited
@pass_door
def list_datasets(door: Door, search: str | None, bad: bool | None, limit: int | None) -> None:
    """List datasets."""
    door.show_all(door.client.list_datasets(search, bad), DATASETS, "datasets", limit)


@datasets.command("show")
@click.argument("dataset_id", metavar="ID", type=int)
@pass_door
def show_dataset(door: Door, dataset_id: int) -> None:
    """Show a dataset."""
    door.show(door.client.get_dataset(dataset_id))


@datasets.command("mark")
@click.argument("dataset_id", metavar="ID", type=int)
@click.argument("reason")
@pass_door
def mark(door: Door, dataset_id: int, reason: str) -> None:
    """Say that a dataset is bad, and why."""
    door.show(door.client.mark_dataset(dataset_id, reason))


@datasets.command("clear")
@click.argument("dataset_id", metavar="ID", type=int)
@pass_door
def clear(door: Door, dataset_id: int) -> None:
    """Take the mark away."""
    door.show(door.client.clear_dataset(dataset_id))
