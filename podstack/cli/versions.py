"""Commands on model versions: their files, stages and annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from podstack.cli.door import Door, Noun, limited, pass_door, unasked
from podstack.cli.output import Columns, compared_rows, print_side_by_side, size
from podstack.cli.runs import FILE_COLUMNS
from podstack.cli.words import (
    STAGES,
    model_versions,
    numbers,
    pairs,
    version_of,
    versioned,
    whole_number,
)
from podstack.files import chosen, download
from podstack.models import Comparison, ModelVersion

RELATIONS = click.Choice(["", "fine_tuned", "adapter", "distilled", "quantized", "merged"])
COLUMNS: Columns = {
    "VERSION": "version",
    "STAGE": "stage",
    "STATUS": "status",
    "ALIASES": "aliases",
    "METRICS": "metrics",
    "SIZE": lambda version: size(version.size),
    "CREATED BY": "created_by",
    "CREATED": "created_at",
}
MOVES: Columns = {
    "TIME": "created_at",
    "VERSION": "version",
    "FROM": "from_stage",
    "TO": "to_stage",
    "BY": "actor",
    "NOTE": "note",
}


@click.group(cls=Noun)
def versions() -> None:
    """Versions of models, written NAME/3, NAME@alias or NAME 3."""


ordered = click.option("--order-by", metavar="FIELD", help="A field or metrics.KEY; with - the other way.")


@versions.command("list")
@click.argument("model_name", metavar="NAME")
@click.option("--stage", type=STAGES)
@ordered
@limited
@pass_door
def list_versions(
    door: Door, model_name: str, stage: str | None, order_by: str | None, limit: int | None
) -> None:
    """List a model's versions, the latest first."""
    found = door.client.list_model_versions(model_name, stage=stage, order_by=order_by)
    door.show_all(found, COLUMNS, "versions", limit)


@versions.command("search")
@click.argument("expression", metavar="FILTER")
@click.option("--model", "model_name", metavar="NAME", help="Those of one model.")
@ordered
@limited
@pass_door
def search_versions(
    door: Door, expression: str, model_name: str | None, order_by: str | None, limit: int | None
) -> None:
    """List versions of all models that FILTER describes, such as "metrics.accuracy > 0.9 and stage = 'Staging'"."""
    found = door.client.search_model_versions(expression, order_by, model_name=model_name)
    door.show_all(found, {"MODEL": "model_name", **COLUMNS}, "such versions", limit)


@versions.command("show")
@versioned()
@pass_door
def show_version(door: Door, model_name: str, version: str) -> None:
    """Show a version with its metrics, parameters and tags."""
    door.show(door.client.get_model_version(model_name, version))


@versions.command("create")
@click.argument("model_name", metavar="NAME")
@click.option("--run", "run_id", required=True, metavar="RUN", help="The run whose files it takes.")
@click.option("--path", required=True, help="The run's file or folder to take.")
@click.option("--description", default="")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="May be repeated.")
@click.option("--parent", metavar="NAME/VERSION", help="The version that it was made from.")
@click.option("--relation", type=RELATIONS, default="", help="What it is to its parent.")
@click.option("--wait/--no-wait", default=True, help="Return once the server has looked at the files.")
@click.option("--timeout", type=float, default=120, show_default=True, help="Seconds to wait for that.")
@pass_door
def create_version(
    door: Door,
    /,
    model_name: str,
    run_id: str,
    path: str,
    description: str,
    tags: tuple[str, ...],
    **more: Any,
) -> None:
    """Make the next version of a model out of a run's files."""
    door.show(door.client.create_model_version(model_name, run_id, path, description, pairs(tags), **more))


@versions.command("update")
@versioned()
@click.option("--description")
@pass_door
def update_version(door: Door, model_name: str, version: str, description: str | None) -> None:
    """Change the description; files never change."""
    door.show(door.client.update_model_version(model_name, version, description))


@versions.command("transition")
@versioned("stage")
@click.option("--note", default="", help="Why.")
@click.option(
    "--archive-previous/--keep-previous",
    default=None,
    help="What happens to what stands in Production; else as the project says.",
)
@click.option("--bypass-reason", default="", help="Move at once where a policy lets maintainers do so.")
@pass_door
def transition_version(
    door: Door,
    model_name: str,
    version: str,
    stage: str,
    note: str,
    archive_previous: bool | None,
    bypass_reason: str,
) -> None:
    """Move a version to STAGE: None, Staging, Production or Archived; a policy may have it wait for approval."""
    wanted = STAGES.convert(stage, None, click.get_current_context())
    door.show(
        door.client.transition_model_version_stage(
            model_name, version, wanted, note, archive_previous, bypass_reason
        )
    )


@versions.command("history")
@click.argument("words", nargs=-1, required=True, metavar="NAME[/VERSION]")
@limited
@pass_door
def list_transitions(door: Door, words: tuple[str, ...], limit: int | None) -> None:
    """List the moves between stages of a version, or of all versions of a model, the latest first."""
    found = door.client.list_transitions(*version_of(words))
    door.show_all(found, MOVES, "moves between stages", limit)


@versions.command("files")
@versioned()
@pass_door
def list_files(door: Door, model_name: str, version: str) -> None:
    """List a version's files."""
    door.show_all(door.client.list_model_version_artifacts(model_name, version), FILE_COLUMNS, "files")


@versions.command("download")
@versioned(rest="path")
@click.option("--to", "folder", metavar="DIR", default=".", type=click.Path(file_okay=False, path_type=Path))
@pass_door
def download_version(door: Door, model_name: str, version: str, path: tuple[str, ...], folder: Path) -> None:
    """Write a version's files to their paths below DIR.

    Each PATH is a file, a folder or a pattern such as "*.json"; without one, all files come. Files arrive whole and
    with the right sha256, or not at all; one that is there is skipped.
    """
    client = door.client
    number = client.get_model_version(model_name, version).version  # an alias may move meanwhile
    files = client.list_model_version_artifacts(model_name, number)
    if path:
        files = chosen(files, path)
    download(client.http, client.path("models", model_name, "versions", number, "artifacts"), files, folder)
    names = [file.path for file in files]
    count = f"{len(names)} file{'' if len(names) == 1 else 's'}"
    answer = {"destination": str(folder), "version": number, "files": names}
    door.done(f"{folder} holds {count} of {model_name}/{number}.", answer)


@versions.command("log-metrics")
@click.argument("words", nargs=-1, required=True, metavar="NAME/VERSION KEY=VALUE…")
@pass_door
def log_validation_metrics(door: Door, words: tuple[str, ...]) -> None:
    """Keep what validating a version found, as its validation metrics."""
    model_name, version = version_of([word for word in words if "=" not in word])
    if version is None:
        raise click.UsageError("Write the version as NAME/3, NAME@alias or NAME 3.")
    metrics = numbers([word for word in words if "=" in word])
    door.show(door.client.log_validation_metrics(model_name, version, metrics))


@versions.command("restore")
@versioned()
@pass_door
def restore_version(door: Door, model_name: str, version: str) -> None:
    """Bring a deleted version back from the trash; for maintainers."""
    door.show(door.client.restore_model_version(model_name, whole_number(version)))


@versions.command("delete")
@versioned()
@unasked
@pass_door
def delete_version(door: Door, model_name: str, version: str, yes: bool) -> None:
    """Delete a version; maintainers can bring it back from the trash."""
    if not yes:
        shown = door.client.get_model_version(model_name, version)
        version = str(shown.version)  # what was agreed to, wherever an alias points by then
        door.ask_first(yes, _question(shown))
    door.client.delete_model_version(model_name, version)
    door.done(f"Deleted {model_name}/{version}.")


def _question(version: ModelVersion) -> str:
    aliases = f", aliases {', '.join(version.aliases)}" if version.aliases else ""
    files = f"{version.file_count} files, {size(version.size)}"
    return f"Delete {version.model_name}/{version.version} ({files}, stage {version.stage}{aliases})?"


@versions.command("compare")
@click.argument("words", nargs=-1, required=True, metavar="NAME VERSION VERSION…")
@click.option("--differences", is_flag=True, help="Only what is not the same in all of them.")
@pass_door
def compare_versions(door: Door, words: tuple[str, ...], differences: bool) -> None:
    """Show versions of one model side by side: metrics, parameters, tags, datasets, files."""
    model_name, refs = model_versions(words)
    compared = door.client.compare_model_versions(model_name, refs)
    if door.wants_json:
        door.show(compared)
    else:
        _print_comparison(compared, differences)


def _print_comparison(compared: Comparison, differences: bool) -> None:
    facts = [
        {"kind": "", "key": field, "values": [getattr(version, field) for version in compared.versions]}
        for field in ("stage", "status", "created_at")
    ]
    rows = facts + [row for row in compared_rows(compared) if row["differs"] or not differences]
    print_side_by_side([f"VERSION {version.version}" for version in compared.versions], rows)


@versions.command("inspect")
@versioned()
@pass_door
def inspect_version(door: Door, model_name: str, version: str) -> None:
    """Show what a worker found in a version's files: format, tensors, signature."""
    door.show(door.client.get_inspection(model_name, version))


@versions.command("quarantine")
@versioned()
@click.option("--reason", required=True, help="Why nobody is to promote or deploy it.")
@click.option(
    "--endpoints",
    type=click.Choice(["keep", "undeploy"]),
    help="What becomes of endpoints that serve it; needed when one does.",
)
@pass_door
def quarantine_version(door: Door, model_name: str, version: str, reason: str, endpoints: str | None) -> None:
    """Keep a Ready version from being promoted and newly deployed; for maintainers."""
    door.show(door.client.quarantine_model_version(model_name, version, reason, endpoints))


@versions.command("release")
@versioned()
@click.option("--note", required=True, help="What was found when it was looked at.")
@pass_door
def release_version(door: Door, model_name: str, version: str, note: str) -> None:
    """Make a Quarantined version Ready; for maintainers who looked at its files."""
    door.show(door.client.release_model_version(model_name, version, note))


@versions.group("tag", cls=Noun)
def tag() -> None:
    """Annotations of a version, key and value."""


@tag.command("set")
@versioned("key", "value")
@pass_door
def set_tag(door: Door, model_name: str, version: str, key: str, value: str) -> None:
    """Set an annotation; another value under the same key is replaced."""
    door.client.set_model_version_tag(model_name, version, key, value)
    door.done(f"{key} of {model_name}/{version} is {value}.", {"key": key, "value": value})


@tag.command("rm")
@versioned("key")
@pass_door
def remove_tag(door: Door, model_name: str, version: str, key: str) -> None:
    """Remove an annotation."""
    door.client.delete_model_version_tag(model_name, version, key)
    door.done(f"Removed {key} of {model_name}/{version}.")


@versions.command("recipe")
@versioned()
@pass_door
def recipe(door: Door, model_name: str, version: str) -> None:
    """What is needed to make a version again."""
    door.show(door.client.get_recipe(model_name, version))
