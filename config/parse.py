"""How the text of a setting is read: each function gives its value, or raises ValueError(what would be right)."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_PEM = re.compile(r"-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----")
_ED25519 = bytes.fromhex("302e020100300506032b657004220420")  # what stands before the 32 bytes of such a key
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def text(value: str) -> str:
    return value


def host(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value.strip("[]")))
    except ValueError:
        looks_like_address = re.fullmatch(r"[0-9.]+", value)
        if _HOST_NAME.fullmatch(value) and not looks_like_address:
            return value
    raise ValueError("an IP address or a host name to listen on, such as 127.0.0.1 or 0.0.0.0")


def number(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if re.fullmatch(r"[0-9]{1,19}", value) and low <= int(value) <= high:
            return int(value)
        raise ValueError(f"a whole number from {low} to {high}")

    return parse


def flag(value: str) -> bool:
    if value.lower() in TRUE | FALSE:
        return value.lower() in TRUE
    raise ValueError("1 for yes or 0 for no")


def one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        for word in words:
            if value.lower() == word.lower():
                return word
        raise ValueError(f"one of {', '.join(words)}")

    return parse


def optional(parse: Callable[[str], T]) -> Callable[[str], T | str]:
    return lambda value: parse(value) if value else ""


def list_of(item: re.Pattern[str], right: str) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        items = tuple(part.strip() for part in value.split(",") if part.strip())
        if all(item.fullmatch(part) for part in items):
            return items
        raise ValueError(right)

    return parse


def folder(value: str) -> Path:
    if "\0" in value or not value.strip():
        raise ValueError("the path of a folder")
    return Path(os.path.normpath(ROOT / Path(value).expanduser()))


def url(value: str, schemes: tuple[str, ...], right: str, *, path_needed: bool = False) -> str:
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"\s", value) or (path_needed and len(parts.path) < 2):
        raise ValueError(right)
    return value


def database_url(value: str) -> str:
    right = "empty for the embedded PostgreSQL, or postgresql://user:password@host:5432/database"
    return url(value, ("postgresql", "postgres"), right, path_needed=True)


def redis_url(value: str) -> str:
    return url(value, ("redis", "rediss"), "empty for the embedded broker, or redis://:password@host:6379/0")


def http_url(value: str) -> str:
    right = "empty, or an address such as https://models.example.com without a query"
    if value and (urlsplit(value).query or urlsplit(value).fragment):
        raise ValueError(right)
    return url(value, ("http", "https"), right).rstrip("/")


def email_url(value: str) -> str:
    right = "empty for files below VAR_DIR/mail, console:, or smtp://user:password@host:587"
    return value if value == "console:" else url(value, ("smtp", "smtps"), right)


def storage_url(value: str) -> str:
    right = (
        "empty for files below VAR_DIR, file:///absolute/folder, or "
        "s3://bucket/prefix?endpoint_url=https://host&region=name, gs://bucket/prefix or azure://container/prefix"
    )
    if not value:
        return ""
    parts = urlsplit(value)
    options = parse_qsl(parts.query, keep_blank_values=True)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and not options:
        return value
    known = all(key in {"endpoint_url", "region"} and text for key, text in options)
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc) and known and not parts.fragment:
        return value
    if (
        parts.scheme in ("gs", "azure")
        and _BUCKET.fullmatch(parts.netloc)
        and not options
        and not parts.fragment
    ):
        return value
    raise ValueError(right)


def issuer(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment):
        raise ValueError("empty, or the provider's address as https://id.example.com/realm")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("https://…: only a provider on this machine may go without")
    return value.removesuffix("/").removesuffix("/.well-known/openid-configuration")


def secret(value: str) -> str:
    if value and len(value) < 32:
        raise ValueError("empty to have one made, or at least 32 random characters")
    return value


def ed25519_key(value: str) -> str:
    if not value:
        return ""
    text = value.replace("\\n", "\n")  # where a variable cannot hold line breaks
    match = _PEM.fullmatch(text.strip())
    try:
        content = base64.b64decode("".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        content = b""
    if content.startswith(_ED25519) and len(content) == len(_ED25519) + 32:
        return text
    raise ValueError(
        "empty to have one made, or an Ed25519 key as `openssl genpkey -algorithm ed25519` prints it"
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
