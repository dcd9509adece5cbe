"""Commands on members, API tokens and the audit trail."""

from __future__ import annotations

from typing import Any

import click

from podstack.cli.door import Door, Noun, limited, pass_door
from podstack.cli.output import Columns

ROLES = click.Choice(["viewer", "contributor", "maintainer", "admin"])
SCOPES = click.Choice(["read", "write", "predict", "admin"])
MEMBERS: Columns = {"USER": "username", "ROLE": "role", "SINCE": "created_at"}
TOKENS: Columns = {
    "PREFIX": "prefix",
    "NAME": "name",
    "SCOPES": "scopes",
    "LAST USED": "last_used_at",
    "EXPIRES": "expires_at",
    "REVOKED": "revoked_at",
}
INVITATIONS: Columns = {
    "ID": "id",
    "EMAIL": "email",
    "ROLE": "role",
    "BY": "created_by",
    "UNTIL": "expires_at",
}
GROUPS: Columns = {"GROUP": "name", "MEMBERS": "members"}
ENTRIES: Columns = {
    "AT": "at",
    "WHO": "actor",
    "DOOR": "door",
    "VERB": "verb",
    "OBJECT": lambda row: f"{row.object_type} {row.object_id}",
}


@click.group(cls=Noun)
def members() -> None:
    """Who is in the project."""


@members.command("list")
@limited
@pass_door
def list_members(door: Door, limit: int | None) -> None:
    """List members and their roles."""
    door.show_all(door.client.list_members(), MEMBERS, "members", limit)


@members.command("set")
@click.argument("username")
@click.argument("role", type=ROLES)
@pass_door
def set_member(door: Door, username: str, role: str) -> None:
    """Add USERNAME, or give them another ROLE; for admins."""
    door.show(door.client.set_member(username, role))


@members.command("invite")
@click.argument("email")
@click.argument("role", type=ROLES, default="contributor")
@pass_door
def invite(door: Door, email: str, role: str) -> None:
    """Send EMAIL a link to join with ROLE (contributor); for admins."""
    door.show(door.client.invite_member(email, role))


@members.command("invitations")
@limited
@pass_door
def list_invitations(door: Door, limit: int | None) -> None:
    """List who was invited and has not joined yet; for admins."""
    door.show_all(door.client.list_invitations(), INVITATIONS, "invitations", limit)


@members.command("uninvite")
@click.argument("invitation_id", metavar="ID", type=int)
@pass_door
def uninvite(door: Door, invitation_id: int) -> None:
    """Withdraw an invitation; for admins."""
    door.client.revoke_invitation(invitation_id)
    door.done(f"Invitation {invitation_id} is withdrawn.")


@members.command("rm")
@click.argument("username")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_door
def remove_member(door: Door, username: str, yes: bool) -> None:
    """Take USERNAME out of the project; for admins."""
    door.ask_first(yes, f"Remove {username} from {door.client.project}?")
    door.client.remove_member(username)
    door.done(f"Removed {username}.")


@click.group(cls=Noun)
def groups() -> None:
    """Groups of the project's members, whom policies and protections may name."""


@groups.command("list")
@limited
@pass_door
def list_groups(door: Door, limit: int | None) -> None:
    """List groups and who is in them."""
    door.show_all(door.client.list_groups(), GROUPS, "groups", limit)


@groups.command("set")
@click.argument("name")
@click.argument("members", nargs=-1, metavar="USERNAME…")
@pass_door
def set_group(door: Door, name: str, members: tuple[str, ...]) -> None:
    """Make the group NAME, or say anew who is in it; for admins."""
    door.show(door.client.set_group(name, members))


@groups.command("rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_door
def delete_group(door: Door, name: str, yes: bool) -> None:
    """Delete a group that no policy and no protection names; for admins."""
    door.ask_first(yes, f"Delete the group {name} of {door.client.project}?")
    door.client.delete_group(name)
    door.done(f"Deleted the group {name}.")


@click.group(cls=Noun)
def tokens() -> None:
    """Your own API tokens for the project."""


@tokens.command("list")
@limited
@pass_door
def list_tokens(door: Door, limit: int | None) -> None:
    """List your tokens, revoked ones too."""
    door.show_all(door.client.list_tokens(), TOKENS, "tokens", limit)


@tokens.command("create")
@click.argument("name")
@click.option("--scope", "scopes", type=SCOPES, multiple=True, help="May be repeated; else write.")
@click.option("--days", "expires_in_days", type=click.IntRange(1, 3650), help="It ends after so many days.")
@pass_door
def create_token(door: Door, name: str, scopes: tuple[str, ...], expires_in_days: int | None) -> None:
    """Make a token; its text is shown once."""
    door.show(door.client.create_token(name, scopes or ("write",), expires_in_days))


@tokens.command("revoke")
@click.argument("prefix")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_door
def revoke_token(door: Door, prefix: str, yes: bool) -> None:
    """End the token podstack_PREFIX_… at once."""
    door.ask_first(yes, f"Revoke podstack_{prefix}_…? Programs that use it are refused.")
    door.client.revoke_token(prefix)
    door.done(f"Revoked {prefix}.")


@click.group(cls=Noun)
def audit() -> None:
    """Who did what; for maintainers."""


@audit.command("list")
@click.option("--actor", metavar="USERNAME", help="Who did it.")
@click.option("--verb", help="What was done, such as transition_stage.")
@click.option("--object-type", help="To what kind of thing, such as version.")
@click.option("--object-id", help="To which one, such as iris/3.")
@click.option("--door", "by_door", help="By which door: sdk, cli, rest, portal, admin, job or command.")
@click.option("--since", metavar="TIME", help="Not before this date or time.")
@click.option("--until", metavar="TIME", help="Before this date or time.")
@limited
@pass_door
def list_audit(door: Door, /, limit: int | None, by_door: str | None, **asked: Any) -> None:
    """List entries of the audit trail, the newest first."""
    door.show_all(door.client.list_audit(door=by_door, **asked), ENTRIES, "entries", limit)
