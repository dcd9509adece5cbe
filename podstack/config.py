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
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from podstack.errors import AuthenticationError, ValidationError

DEFAULT_ENDPOINT = "http://127.0.0.1:8000"
DEFAULT_PROFILE = "default"
API_PREFIX = "/api/v1"
TOKEN_BEGINS = "podstack_"  # noqa: S105 - no secret


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
    *,
    profile: str | None = None,
) -> Settings:
    """The settings in force; AuthenticationError without a token, ValidationError for an unusable value."""
    env = os.environ if environ is None else environ
    saved = _read_profile(profile or "", env)

    def choose(argument: str | None, name: str) -> str:
        return (argument or env.get(f"PODSTACK_{name.upper()}") or saved.get(name) or "").strip()

    return Settings(
        api_token=check_token(choose(api_token, "api_token")),
        endpoint=check_endpoint(choose(api_endpoint, "api_endpoint") or DEFAULT_ENDPOINT),
        project=choose(project, "project"),
    )


def profile_name(asked: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """The profile in force: the one asked for, else PODSTACK_PROFILE's, else `default`."""
    env = os.environ if environ is None else environ
    return asked or env.get("PODSTACK_PROFILE") or DEFAULT_PROFILE


def read_profiles() -> configparser.ConfigParser:
    """What ~/.podstack/credentials holds; ValidationError when it cannot be read."""
    path = credentials_path()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise ValidationError(
            f"{path} cannot be read: {_without_values(error)}",
            hint="It must be an INI file with a section [default] that holds api_token = …",
        ) from error
    return parser


def write_profiles(parser: configparser.ConfigParser) -> Path:
    """Replaces ~/.podstack/credentials at once by a file that only its owner reads; comments are not kept."""
    path = credentials_path().resolve()  # where the file is a link, what it leads to is replaced
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".credentials-", dir=path.parent)  # made with 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            parser.write(file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _read_profile(name: str, env: Mapping[str, str]) -> Mapping[str, str]:
    parser, chosen = read_profiles(), profile_name(name, env)
    if parser.has_section(chosen):
        return dict(parser[chosen])
    if chosen == DEFAULT_PROFILE and not name and not env.get("PODSTACK_PROFILE"):
        return {}
    origin = "The profile" if name else "PODSTACK_PROFILE"
    raise ValidationError(
        f"{origin} is {chosen!r}, but {credentials_path()} has no section [{chosen}].",
        hint="Name one that is there." if name else "Add the section or unset PODSTACK_PROFILE.",
    )


def _without_values(error: Exception) -> str:
    """A parser's complaint quotes the line that it does not understand, which may be the token."""
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} stands before any [section]."
    if isinstance(error, configparser.ParsingError):
        return "line " + ", ".join(str(number) for number, _ in error.errors) + " is not understood."
    return str(error)


def check_token(token: str) -> str:
    """The token itself; AuthenticationError without one, and for what is clearly none."""
    if not token:
        raise AuthenticationError(
            "There is no API token.",
            hint="Create one in the portal under Settings > API tokens, then set PODSTACK_API_TOKEN or pass "
            "MLOpsClient(api_token=…). On your own machine, `make run` prints one to paste.",
        )
    if token.startswith(("http://", "https://")):
        raise AuthenticationError(
            "The API token is an address.",
            hint="The token comes first: MLOpsClient(api_token, api_endpoint).",
        )
    if not all("!" <= character <= "~" for character in token):
        raise AuthenticationError(
            "The API token holds a space or a character that no token has.",
            hint="Copy it again, without what stands around it.",
        )
    return token


def check_endpoint(endpoint: str) -> str:
    """Scheme, host and path without the API's own prefix, so that both forms people paste work."""
    trimmed = endpoint.rstrip("/").removesuffix(API_PREFIX).rstrip("/")
    try:
        parts = urlsplit(trimmed)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username or parts.password:
        raise ValidationError(
            f"The API endpoint {_shown(endpoint)} is not an http(s) address.",
            hint="Set PODSTACK_API_ENDPOINT to something like https://registry.example.com.",
        )
    return trimmed


def _shown(endpoint: str) -> str:
    """A wrong address as it was given, unless it may hold a secret: a token in the wrong place, a password."""
    if endpoint.startswith(TOKEN_BEGINS):
        return "holds an API token; it"
    return "holds a user or a password; it" if "@" in endpoint else repr(endpoint)
