"""Commands that take versions elsewhere: into another project, and as one file to another server."""

from __future__ import annotations

from pathlib import Path

import click

from podstack.cli.door import Door, pass_door
from podstack.cli.versions import versions
from podstack.cli.words import versioned

__all__ = ["versions"]


@versions.command("copy")
@versioned("to_project")
@click.option("--model", "to_model", metavar="NAME", help="The model it becomes a version of there.")
@click.option("--description")
@pass_door
def copy_version(
    door: Door,
    model_name: str,
    version: str,
    to_project: str,
    to_model: str | None,
    description: str | None,
) -> None:
    """Make a version the next one of its model in another project."""
    door.show(door.client.copy_model_version(model_name, version, to_project, to_model, description))


@versions.command("export")
@versioned("file")
@pass_door
def export_version(door: Door, model_name: str, version: str, file: str) -> None:
    """Write a version as one signed FILE, a bundle, whole and checked or not at all."""
    written = door.client.export_model_version(model_name, version, file)
    door.done(f"{written} holds {model_name}, version {version}.", {"path": str(written)})


@versions.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", "model_name", metavar="NAME", help="The model it becomes a version of here.")
@click.option("--wait/--no-wait", default=True, help="Return once the server has looked at the files.")
@click.option("--timeout", type=float, default=120, show_default=True, help="Seconds to wait for that.")
@pass_door
def import_version(door: Door, file: Path, model_name: str | None, wait: bool, timeout: float) -> None:
    """Make the version in a bundle the next one of its model."""
    door.show(door.client.import_model_version(file, model_name, wait=wait, timeout=timeout))


@versions.command("bundle-key")
@pass_door
def show_bundle_key(door: Door) -> None:
    """Show the public key that the server signs bundles with."""
    door.show(door.client.get_bundle_key())
