"""Signing in and out, and who one is."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from podstack.cli.door import AGENT, Door, Verb, pass_door, read_secret
from podstack.client import MLOpsClient
from podstack.config import (
    DEFAULT_ENDPOINT,
    check_endpoint,
    check_token,
    credentials_path,
    profile_name,
    read_profiles,
    write_profiles,
)
from podstack.errors import ValidationError
from podstack.models import Me


@click.command(cls=Verb)
@pass_door
def login(door: Door) -> None:
    """Ask for endpoint and token, try them, and keep them in ~/.podstack/credentials.

    Make a token in the portal under API tokens. Without a terminal, the token is read from stdin. --profile NAME
    keeps several side by side; --project SLUG is kept with them.
    """
    profile = _check_profile(profile_name(door.profile))
    profiles = read_profiles()
    saved = dict(profiles[profile]) if profiles.has_section(profile) else {}
    endpoint = check_endpoint(_asked_endpoint(door, saved.get("api_endpoint") or DEFAULT_ENDPOINT))
    given = door.token if door.token not in (None, "-") else read_secret("API token")
    token = check_token((given or "").strip())
    client = MLOpsClient(token, endpoint, agent=AGENT)
    me = client.me()
    if not profiles.has_section(profile):
        profiles.add_section(profile)
    values = {"api_endpoint": endpoint, "api_token": token}
    project = door.project or (saved.get("project") if saved.get("api_endpoint") == endpoint else None)
    profiles.remove_option(profile, "project")
    profiles[profile].update(values | ({"project": project} if project else {}))
    path = write_profiles(profiles)
    door.done(f"Signed in to {endpoint} as {me.user.get('username')}; kept in {path} as [{profile}].", me)
    for name in ("PODSTACK_API_TOKEN", "PODSTACK_API_ENDPOINT"):
        if os.environ.get(name):
            door.say(f"{name} is set and comes before what was kept; unset it.")


@click.command(cls=Verb)
@pass_door
def logout(door: Door) -> None:
    """Forget the kept endpoint and token; the token itself stays valid until it is revoked."""
    profile = profile_name(door.profile)
    profiles = read_profiles()
    if not profiles.remove_section(profile):
        door.done(f"{credentials_path()} has no section [{profile}]; nothing was changed.")
        return
    path = write_profiles(profiles)
    door.done(f"Took [{profile}] out of {path}. To end the token itself, revoke it in the portal.")


@click.command(cls=Verb)
@pass_door
def whoami(door: Door) -> None:
    """Show who the token is, what it may do, and which projects it reaches."""
    me = door.client.me()
    if door.wants_json:
        door.show(me)
    else:
        door.show(_in_words(me, door.client))


def _asked_endpoint(door: Door, default: str) -> str:
    chosen = door.endpoint or os.environ.get("PODSTACK_API_ENDPOINT")
    if chosen:
        return chosen
    if not sys.stdin.isatty():
        return default
    return str(click.prompt("Endpoint", default=default, err=True))


def _check_profile(name: str) -> str:
    if not name.isprintable() or "]" in name or name == "DEFAULT" or name != name.strip():
        raise ValidationError(f"{name!r} cannot be a profile's name.", hint="Use letters and digits.")
    return name


def _in_words(me: Me, client: MLOpsClient) -> dict[str, Any]:
    """What people want to know of /me, in one column."""
    token = me.token or {}
    return {
        "user": me.user.get("username"),
        "endpoint": client.settings.endpoint,
        "project": client.settings.project or token.get("project"),
        "token": token.get("name"),
        "scopes": token.get("scopes"),
        "expires": token.get("expires_at"),
        "projects": {str(each["slug"]): each.get("role") for each in me.projects},
        "server": me.server.get("version"),
    }
