"""Commands on approval requests and policies."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import click

from podstack.cli.door import Door, Noun, limited, pass_door
from podstack.cli.output import Columns
from podstack.cli.words import STAGES
from podstack.models import Approval

COLUMNS: Columns = {
    "ID": "id",
    "MODEL": "model_name",
    "VERSION": "version",
    "FROM": "from_stage",
    "TO": "to_stage",
    "STATUS": "status",
    "APPROVALS": lambda row: f"{row.approvals_given}/{row.approvals_needed}",
    "REQUESTER": "requester",
    "EXPIRES": "expires_at",
}
POLICIES: Columns = {
    "ID": "id",
    "MODEL": lambda row: row.model_name or "all",
    "STAGE": "stage",
    "APPROVALS": "approvals_needed",
    "REVIEWERS": "reviewers",
    "GROUPS": "groups",
    "CHECKS": lambda row: len(row.checks),
}
commented = click.option("--comment", default="", help="What reviewers and the requester read.")


@click.group(cls=Noun)
def approvals() -> None:
    """Stage changes that wait for reviewers."""


@approvals.command("list")
@click.option("--status", help="Pending, Approved, Rejected, Cancelled, Expired, Superseded or Bypassed.")
@click.option("--model", "model_name", metavar="NAME", help="Of one model.")
@click.option("--requester", metavar="NAME", help="Asked for by one person.")
@click.option("--mine/--others", "mine", default=None, help="Only those that wait for me, or the rest.")
@limited
@pass_door
def list_approvals(
    door: Door,
    status: str | None,
    model_name: str | None,
    requester: str | None,
    mine: bool | None,
    limit: int | None,
) -> None:
    """List approval requests, the newest first."""
    found = door.client.list_approvals(status, model_name, requester, mine)
    door.show_all(found, COLUMNS, "approval requests", limit)


@approvals.command("show")
@click.argument("approval_id", metavar="ID")
@pass_door
def show(door: Door, approval_id: str) -> None:
    """Show a request with its checks, votes and comments."""
    door.show(door.client.get_approval(approval_id))


@approvals.command("approve")
@click.argument("approval_id", metavar="ID")
@commented
@pass_door
def approve(door: Door, approval_id: str, comment: str) -> None:
    """Approve a request; the last approval that is needed moves the version."""
    _tell(door, door.client.approve(approval_id, comment))


@approvals.command("reject")
@click.argument("approval_id", metavar="ID")
@click.option("--comment", required=True, help="Why.")
@pass_door
def reject(door: Door, approval_id: str, comment: str) -> None:
    """Reject a request, which ends it."""
    _tell(door, door.client.reject(approval_id, comment))


@approvals.command("cancel")
@click.argument("approval_id", metavar="ID")
@commented
@pass_door
def cancel(door: Door, approval_id: str, comment: str) -> None:
    """Withdraw a request."""
    _tell(door, door.client.cancel_approval(approval_id, comment))


@approvals.command("comment")
@click.argument("approval_id", metavar="ID")
@click.argument("text")
@pass_door
def comment(door: Door, approval_id: str, text: str) -> None:
    """Say something to a request."""
    door.done("Said.", door.client.comment_approval(approval_id, text))


@approvals.command("policies")
@limited
@pass_door
def list_policies(door: Door, limit: int | None) -> None:
    """List who must approve which moves."""
    door.show_all(door.client.list_approval_policies(), POLICIES, "approval policies", limit)


@approvals.command("set-policy")
@click.option("--model", "model_name", metavar="NAME", help="Of one model; else of all.")
@click.option("--stage", default="Production", show_default=True, help="The stage that is guarded.")
@click.option("--approvals", "approvals_needed", type=int, default=1, show_default=True)
@click.option("--reviewer", "reviewers", multiple=True, metavar="NAME", help="A member; may be repeated.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group; may be repeated.")
@click.option(
    "--own-review",
    is_flag=True,
    help="Who asked for the move, made the version or had a part in training it may review.",
)
@click.option("--bypass", is_flag=True, help="A maintainer may move at once, with a reason.")
@click.option("--expires-days", type=int, default=14, show_default=True)
@click.option("--checks", type=click.File("rb"), metavar="FILE", help="A JSON list of checks; - is stdin.")
@pass_door
def set_policy(door: Door, /, stage: str, checks: BinaryIO | None, **words: Any) -> None:
    """Have moves to a stage wait for approval; setting it again replaces it."""
    wanted = STAGES.convert(stage, None, click.get_current_context())
    rules = _checks(checks) if checks else []
    door.show(door.client.set_approval_policy(stage=wanted, checks=rules, **words))


@approvals.command("delete-policy")
@click.argument("policy_id", metavar="ID", type=int)
@pass_door
def delete_policy(door: Door, policy_id: int) -> None:
    """Have what a policy covered apply at once again."""
    door.client.delete_approval_policy(policy_id)
    door.done(f"Policy {policy_id} is deleted.")


@approvals.command("rules")
@click.option("--one-production/--many-production", default=None, help="At most one version in Production.")
@click.option("--archive-previous/--keep-previous", default=None, help="What happens to what stood there.")
@pass_door
def rules(door: Door, one_production: bool | None, archive_previous: bool | None) -> None:
    """Show or change what holds for Production."""
    if one_production is None and archive_previous is None:
        door.show(door.client.get_promotion_rules())
    else:
        door.show(door.client.set_promotion_rules(one_production, archive_previous))


def _tell(door: Door, approval: Approval) -> None:
    given = f"{approval.approvals_given} of {approval.approvals_needed} approvals"
    waits = f" It has {given}." if approval.status == "Pending" else ""
    reason = f" {approval.reason}" if approval.reason else ""
    door.done(f"{approval.id} is {approval.status}.{waits}{reason}", approval)


def _checks(file: BinaryIO) -> list[Any]:
    try:
        found = json.load(file)
    except ValueError as error:
        raise click.UsageError(f"{file.name} holds no JSON: {error}.") from None
    if not isinstance(found, list):
        raise click.UsageError("--checks must hold a JSON list of objects.")
    return found
