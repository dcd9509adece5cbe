"""Commands on training code, schedules and their executions."""

from __future__ import annotations

from typing import Any, BinaryIO

import click

from podstack.cli import errors
from podstack.cli.door import Door, Noun, limited, pass_door, unasked
from podstack.cli.output import Columns
from podstack.cli.words import pairs, read_json
from podstack.models import ScheduleExecution

COLUMNS: Columns = {
    "NAME": "name",
    "EXPERIMENT": "experiment_name",
    "CRON": "cron",
    "TIMEZONE": "timezone",
    "NEXT": "next_at",
    "PAUSED": "paused",
}
DELETED: Columns = {
    "ID": "id",
    "NAME": "name",
    "EXPERIMENT": "experiment_name",
    "CRON": "cron",
    "TIMEZONE": "timezone",
    "DELETED": "deleted_at",
}
EXECUTIONS: Columns = {
    "ID": "id",
    "TRIGGER": "trigger",
    "DUE": "due_at",
    "STATE": "state",
    "STARTED": "started_at",
    "ENDED": "ended_at",
    "REASON": "reason",
}
CODE: Columns = {
    "NUMBER": "number",
    "STATE": "state",
    "COMMAND": "command",
    "FILES": "file_count",
    "COMMIT": "git_commit",
    "CREATED": "created_at",
}
TEXTS = ("overlap", "catch_up", "engine", "model_name", "artifact_path", "promote_metric", "promote_stage")
NUMBERS = (
    "starting_deadline",
    "timeout",
    "cpu_limit",
    "memory_limit",
    "file_size_limit",
    "max_attempts",
    "code",
)
configured = click.option(
    "--config", "config", type=click.File("rb"), metavar="FILE", help="A JSON object; - is stdin."
)
zoned = click.option("--timezone", metavar="ZONE", help="An IANA name such as Europe/Berlin; UTC.")
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help=f"{', '.join([*TEXTS, *NUMBERS])}; null empties one.",
)


@click.group(cls=Noun)
def schedules() -> None:
    """Training that runs by itself."""


@schedules.command("upload-code", context_settings={"ignore_unknown_options": True})
@click.argument("experiment")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.argument("command", nargs=-1, required=True)
@click.option("--schema", type=click.File("rb"), metavar="FILE", help="JSON Schema of configurations.")
@pass_door
def upload_code(
    door: Door, experiment: str, folder: str, command: tuple[str, ...], schema: BinaryIO | None
) -> None:
    """Give an experiment the code in FOLDER, and the COMMAND that trains with it."""
    rules = None if schema is None else read_json(schema)
    door.show(door.client.upload_training_code(experiment, folder, command, rules))


@schedules.command("fetch-code", context_settings={"ignore_unknown_options": True})
@click.argument("experiment")
@click.argument("git_url", metavar="URL")
@click.argument("git_commit", metavar="COMMIT")
@click.argument("command", nargs=-1, required=True)
@click.option("--path", "git_path", metavar="FOLDER", default="", help="The folder in the repository.")
@click.option("--schema", type=click.File("rb"), metavar="FILE", help="JSON Schema of configurations.")
@click.option("--timeout", type=float, default=600.0, show_default=True, metavar="SECONDS")
@pass_door
def fetch_code(
    door: Door,
    experiment: str,
    git_url: str,
    git_commit: str,
    command: tuple[str, ...],
    git_path: str,
    schema: BinaryIO | None,
    timeout: float,
) -> None:
    """Give an experiment the code of a Git COMMIT, which the server fetches from URL, and the COMMAND that trains."""
    rules = None if schema is None else read_json(schema)
    call = door.client.fetch_training_code
    door.show(call(experiment, git_url, git_commit, command, git_path, rules, timeout))


@schedules.command("code")
@click.argument("experiment")
@limited
@pass_door
def list_code(door: Door, experiment: str, limit: int | None) -> None:
    """List an experiment's training code, the newest first."""
    door.show_all(door.client.list_training_code(experiment), CODE, "training code", limit)


@schedules.command("create")
@click.argument("name")
@click.argument("experiment")
@click.argument("cron")
@zoned
@configured
@settings
@pass_door
def create(
    door: Door,
    name: str,
    experiment: str,
    cron: str,
    timezone: str | None,
    config: BinaryIO | None,
    settings: tuple[str, ...],
) -> None:
    """Run EXPERIMENT's training code at each moment of CRON, such as '0 2 * * *'."""
    found = door.client.create_schedule(
        name, experiment, cron, timezone or "UTC", read_json(config) if config else None, **_values(settings)
    )
    door.show(found)


@schedules.command("list")
@click.option("--search", metavar="TEXT", help="Text in the name.")
@click.option("--experiment", metavar="EXPERIMENT", help="Those of one experiment.")
@click.option("--paused/--active", default=None, help="Only paused ones, or only the others.")
@click.option("--deleted", is_flag=True, help="Those that were deleted.")
@limited
@pass_door
def list_schedules(
    door: Door,
    search: str | None,
    experiment: str | None,
    paused: bool | None,
    deleted: bool,
    limit: int | None,
) -> None:
    """List schedules."""
    found = door.client.list_schedules(search, experiment, paused, deleted or None)
    columns, nouns = (DELETED, "deleted schedules") if deleted else (COLUMNS, "schedules")
    door.show_all(found, columns, nouns, limit)


@schedules.command("show")
@click.argument("name")
@pass_door
def show(door: Door, name: str) -> None:
    """Show a schedule."""
    door.show(door.client.get_schedule(name))


@schedules.command("times")
@click.argument("cron")
@zoned
@pass_door
def times(door: Door, cron: str, timezone: str | None) -> None:
    """Say CRON in words, and its next five times."""
    door.show(door.client.get_schedule_times(cron, timezone or "UTC"))


@schedules.command("update")
@click.argument("name")
@click.option("--cron", metavar="CRON")
@zoned
@configured
@settings
@pass_door
def update(
    door: Door,
    name: str,
    cron: str | None,
    timezone: str | None,
    config: BinaryIO | None,
    settings: tuple[str, ...],
) -> None:
    """Change what is given; an edit never starts anything by itself."""
    changes = _values(settings)
    for key, value in (("cron", cron), ("timezone", timezone)):
        if value is not None:
            changes[key] = value
    if config is not None:
        changes["configuration"] = read_json(config)
    door.show(door.client.update_schedule(name, **changes))


@schedules.command("pause")
@click.argument("name")
@pass_door
def pause(door: Door, name: str) -> None:
    """Start nothing by itself until it is resumed."""
    door.done(f"{name} is paused.", door.client.pause_schedule(name))


@schedules.command("resume")
@click.argument("name")
@pass_door
def resume(door: Door, name: str) -> None:
    """Go on with the next moment from now."""
    found = door.client.resume_schedule(name)
    door.done(f"{name} runs next at {found.next_at:%Y-%m-%d %H:%M} UTC.", found)


@schedules.command("delete")
@click.argument("name")
@unasked
@pass_door
def delete(door: Door, name: str, yes: bool) -> None:
    """Delete a schedule and stop what it runs."""
    door.ask_first(yes, f"Delete the schedule {name}?")
    door.client.delete_schedule(name)
    door.done(f"{name} is deleted.")


@schedules.command("trigger")
@click.argument("name")
@configured
@click.option("--wait", is_flag=True, help="Show its log, and return at its end; fail unless it succeeded.")
@pass_door
def trigger(door: Door, name: str, config: BinaryIO | None, wait: bool) -> None:
    """Run a schedule now."""
    execution = door.client.trigger_schedule(name, read_json(config) if config else None)
    if wait:
        _wait(door, execution.id, None)
    else:
        door.show(execution)


@schedules.command("executions")
@click.argument("name")
@click.option("--state", help="Succeeded, Failed, …")
@limited
@pass_door
def executions(door: Door, name: str, state: str | None, limit: int | None) -> None:
    """What became of each moment of a schedule, the newest first."""
    door.show_all(door.client.list_schedule_executions(name, state), EXECUTIONS, "executions", limit)


@schedules.command("deleted-executions")
@click.argument("schedule_id", metavar="ID", type=int)
@click.option("--state", help="Succeeded, Failed, …")
@limited
@pass_door
def deleted_executions(door: Door, schedule_id: int, state: str | None, limit: int | None) -> None:
    """What a deleted schedule did; `list --deleted` gives its ID."""
    found = door.client.list_deleted_schedule_executions(schedule_id, state)
    door.show_all(found, EXECUTIONS, "executions", limit)


@schedules.command("execution")
@click.argument("execution_id", metavar="ID")
@pass_door
def execution(door: Door, execution_id: str) -> None:
    """Show an execution."""
    door.show(door.client.get_schedule_execution(execution_id))


@schedules.command("stop")
@click.argument("execution_id", metavar="ID")
@pass_door
def stop(door: Door, execution_id: str) -> None:
    """End an execution's processes; a waiting one never starts."""
    door.done(f"{execution_id} is being stopped.", door.client.stop_schedule_execution(execution_id))


@schedules.command("log")
@click.argument("execution_id", metavar="ID")
@click.option("--follow", is_flag=True, help="Go on until it has ended.")
@pass_door
def log(door: Door, execution_id: str, follow: bool) -> None:
    """What an execution's program wrote."""
    if follow:
        door.client.wait_for_execution(execution_id, timeout=30 * 86_400, on_log=_print)
        return
    offset = 0
    while (piece := door.client.read_execution_log(execution_id, offset)).text:
        _print(piece.text)
        offset = piece.next_offset


@schedules.command("wait")
@click.argument("execution_id", metavar="ID")
@click.option("--timeout", type=float, default=3600, show_default=True, help="Seconds to wait.")
@pass_door
def wait_for(door: Door, execution_id: str, timeout: float) -> None:
    """Return once an execution has ended; fail unless it succeeded."""
    _wait(door, execution_id, timeout)


def _wait(door: Door, execution_id: str, timeout: float | None) -> None:
    on_log = None if door.wants_json else _print
    ended = door.client.wait_for_execution(execution_id, 30 * 86_400 if timeout is None else timeout, on_log)
    _judge(door, ended)


def _judge(door: Door, ended: ScheduleExecution) -> None:
    door.done(" ".join(filter(None, [f"{ended.id} {ended.state}.", ended.reason, ended.outcome])), ended)
    if ended.state != "Succeeded":
        raise click.exceptions.Exit(errors.REFUSED)


def _print(text: str) -> None:
    """A program's own output, without what would steer the terminal."""
    click.echo("".join(c if c.isprintable() or c in "\n\t" else "�" for c in text), nl=False)


def _values(texts: tuple[str, ...]) -> dict[str, Any]:
    """Settings as the API takes them: null and numbers as such where a number belongs; a text stays as it is."""
    found: dict[str, Any] = dict(pairs(texts))
    for key, text in found.items():
        if key not in (*NUMBERS, *TEXTS):
            known = ", ".join([*TEXTS, *NUMBERS])
            raise click.UsageError(f"{key!r} is no setting of a schedule; --set takes {known}.")
        if text == "null":
            found[key] = None
        elif key in NUMBERS:
            found[key] = _whole(key, text)
    return found


def _whole(key: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise click.UsageError(f"{key} is {text!r}, which is no whole number.")
    return int(text)
