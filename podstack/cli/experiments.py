"""Commands on experiments."""

from __future__ import annotations

import click

from podstack.cli.door import Door, Noun, limited, pass_door
from podstack.cli.output import Columns

COLUMNS: Columns = {
    "ID": "id",
    "NAME": "name",
    "RUNS": "run_count",
    "TAGS": "tags",
    "CREATED BY": "created_by",
    "CREATED": "created_at",
}


@click.group(cls=Noun)
def experiments() -> None:
    """Named groups of runs; EXPERIMENT is an id or a name."""


@experiments.command("list")
@click.option("--search", metavar="TEXT", help="Text in name or description.")
@click.option("--archived/--not-archived", default=None, help="Only archived ones, or only the others.")
@click.option("--order-by", metavar="FIELD", help="A field; -FIELD turns the order around.")
@limited
@pass_door
def list_experiments(
    door: Door, search: str | None, archived: bool | None, order_by: str | None, limit: int | None
) -> None:
    """List experiments."""
    found = door.client.list_experiments(search=search, archived=archived, order_by=order_by)
    door.show_all(found, COLUMNS, "experiments", limit)


@experiments.command("show")
@click.argument("experiment")
@pass_door
def show_experiment(door: Door, experiment: str) -> None:
    """Show an experiment."""
    door.show(door.client.get_experiment(experiment))


@experiments.command("create")
@click.argument("name")
@click.option("--description", default="")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@pass_door
def create_experiment(door: Door, name: str, description: str, tags: tuple[str, ...]) -> None:
    """Make an experiment."""
    door.show(door.client.create_experiment(name, description, tags))


@experiments.command("update")
@click.argument("experiment")
@click.option("--name", help="A new name.")
@click.option("--description")
@click.option("--tag", "tags", multiple=True, help="All tags that it is to have; may be repeated.")
@click.option("--no-tags", is_flag=True, help="Remove all tags.")
@pass_door
def update_experiment(
    door: Door,
    experiment: str,
    name: str | None,
    description: str | None,
    tags: tuple[str, ...],
    no_tags: bool,
) -> None:
    """Change what is given and leave the rest."""
    wanted = tags if tags or no_tags else None
    door.show(door.client.update_experiment(experiment, name, description, wanted))


@experiments.command("archive")
@click.argument("experiment")
@pass_door
def archive_experiment(door: Door, experiment: str) -> None:
    """Hide an experiment from lists; its runs stay."""
    door.show(door.client.archive_experiment(experiment))


@experiments.command("restore")
@click.argument("experiment")
@pass_door
def restore_experiment(door: Door, experiment: str) -> None:
    """Show an archived experiment again."""
    door.show(door.client.restore_experiment(experiment))
