"""Where the client's settings come from: arguments, then the environment, then ~/.podstack/credentials.

The file is INI, one section per profile; PODSTACK_PROFILE chooses one, else `default`:

    [default]
    api_token = podstack_…
    api_endpoint = https://registry.example.com
    project = vision
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from podstack.errors import AuthenticationError, ValidationError

DEFAULT_ENDPOINT = "http://127.0.0.1:8000"
DEFAULT_PROFILE = "default"
API_PREFIX = "/api/v1"


@dataclass(frozen=True)
class Settings:
    """`endpoint` is the server's address without a slash at its end; no `project` means the token's own."""

    api_token: str = field(repr=False)
    endpoint: str
    project: str


def credentials_path() -> Path:
    """The file with the profiles; it need not exist."""
    return Path.home() / ".podstack" / "credentials"


def load_settings(
    api_token: str | None = None,
    api_endpoint: str | None = None,
    project: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force; AuthenticationError without a token, ValidationError for an unusable value."""
    env = os.environ if environ is None else environ
    profile = _read_profile(env.get("PODSTACK_PROFILE", ""))

    def choose(argument: str | None, name: str) -> str:
        return (argument or env.get(f"PODSTACK_{name.upper()}") or profile.get(name) or "").strip()

    return Settings(
        api_token=_check_token(choose(api_token, "api_token")),
        endpoint=_check_endpoint(choose(api_endpoint, "api_endpoint") or DEFAULT_ENDPOINT),
        project=choose(project, "project"),
    )


def _read_profile(name: str) -> Mapping[str, str]:
    path = credentials_path()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise ValidationError(
            f"{path} cannot be read: {error}",
            hint="It must be an INI file with a section [default] that holds api_token = …",
        ) from error
    if name and not parser.has_section(name):
        raise ValidationError(
            f"PODSTACK_PROFILE is {name!r}, but {path} has no section [{name}].",
            hint="Add the section or unset PODSTACK_PROFILE.",
        )
    chosen = name or DEFAULT_PROFILE
    return dict(parser[chosen]) if parser.has_section(chosen) else {}


def _check_token(token: str) -> str:
    if not token:
        raise AuthenticationError(
            "There is no API token.",
            hint="Create one in the portal under Settings > API tokens, then set PODSTACK_API_TOKEN or pass "
            "MLOpsClient(api_token=…). On your own machine, `make run` prints one to paste.",
        )
    if not all("!" <= character <= "~" for character in token):
        raise AuthenticationError(
            "The API token holds a space or a character that no token has.",
            hint="Copy it again, without what stands around it.",
        )
    return token


def _check_endpoint(endpoint: str) -> str:
    """Scheme, host and path without the API's own prefix, so that both forms people paste work."""
    trimmed = endpoint.rstrip("/").removesuffix(API_PREFIX).rstrip("/")
    try:
        parts = urlsplit(trimmed)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username or parts.password:
        raise ValidationError(
            f"The API endpoint {endpoint!r} is not an http(s) address.",
            hint="Set PODSTACK_API_ENDPOINT to something like https://registry.example.com.",
        )
    return trimmed
