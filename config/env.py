"""Every setting of the platform: read from the environment, checked, and answered in a sentence when wrong.

Pure Python, so that the launcher, Django and the tests share one reading of the environment.
`python -m config.env` prints the page docs/settings.md.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).resolve().parent.parent

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 -- named here to be recognised
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_ALLOWED_HOST = re.compile(r"\*|\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")
_GPU_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")
_PEM = re.compile(r"-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----")
_ED25519 = bytes.fromhex("302e020100300506032b657004220420")  # what stands before the 32 bytes of such a key
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class BadSetting(ValueError):
    """One or more settings are wrong; `sentences` says for each which it is and what would be right."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("\n".join(sentences))


@dataclass(frozen=True, slots=True)
class Env:
    """The platform's settings, checked, their defaults filled in. Fields are named like the settings.

    Empty `database_url`, `redis_url`, `secret_key`, `serving_engine_url` and `serving_engine_token` mean that
    the embedded one is used (or made); all others are final: `storage_url` begins with `file://` or `s3://`,
    `public_url` has no slash at its end, `allowed_hosts` is never empty, `var_dir` is absolute.
    """

    host: str
    port: int
    var_dir: Path
    database_url: str
    redis_url: str
    storage_url: str
    aws_access_key_id: str
    aws_secret_access_key: str
    secret_key: str
    public_url: str
    allowed_hosts: tuple[str, ...]
    debug: bool
    web_workers: int
    web_threads: int
    worker_concurrency: int
    serving_engine_url: str
    serving_engine_token: str
    no_gpu: str
    downloads: str
    uploads: str
    webhooks_to_private: bool
    email_url: str
    email_from: str
    gpu_types: tuple[str, ...]
    log_level: str
    demo: bool
    max_upload_bytes: int
    blob_grace_hours: int
    upload_hours: int
    trash_days: int
    bundle_signing_key: str
    bundle_trusted_keys: tuple[str, ...]
    postgres_source: str

    @property
    def local_url(self) -> str:
        """Where the portal answers on this machine, e.g. `http://127.0.0.1:8000`."""
        return f"http://{_reachable(self.host)}:{self.port}"

    def as_environ(self) -> dict[str, str]:
        """All settings as text, so that `load` on them gives an equal Env (for child processes)."""
        return {name: _as_text(getattr(self, name.lower())) for name in NAMES}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: `parse` gives its value or raises ValueError(what would be right)."""

    name: str
    default: str
    parse: Callable[[str], Any]
    description: str
    default_note: str = ""


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _text(value: str) -> str:
    return value


def _host(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value.strip("[]")))
    except ValueError:
        looks_like_address = re.fullmatch(r"[0-9.]+", value)
        if _HOST_NAME.fullmatch(value) and not looks_like_address:
            return value
    raise ValueError("an IP address or a host name to listen on, such as 127.0.0.1 or 0.0.0.0")


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if re.fullmatch(r"[0-9]{1,19}", value) and low <= int(value) <= high:
            return int(value)
        raise ValueError(f"a whole number from {low} to {high}")

    return parse


def _flag(value: str) -> bool:
    if value.lower() in TRUE | FALSE:
        return value.lower() in TRUE
    raise ValueError("1 for yes or 0 for no")


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        for word in words:
            if value.lower() == word.lower():
                return word
        raise ValueError(f"one of {', '.join(words)}")

    return parse


def _optional(parse: Callable[[str], str]) -> Callable[[str], str]:
    return lambda value: parse(value) if value else ""


def _list(item: re.Pattern[str], right: str) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        items = tuple(part.strip() for part in value.split(",") if part.strip())
        if all(item.fullmatch(part) for part in items):
            return items
        raise ValueError(right)

    return parse


def _folder(value: str) -> Path:
    if "\0" in value or not value.strip():
        raise ValueError("the path of a folder")
    return Path(os.path.normpath(ROOT / Path(value).expanduser()))


def _url(value: str, schemes: tuple[str, ...], right: str, *, path_needed: bool = False) -> str:
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


def _database_url(value: str) -> str:
    right = "empty for the embedded PostgreSQL, or postgresql://user:password@host:5432/database"
    return _url(value, ("postgresql", "postgres"), right, path_needed=True)


def _redis_url(value: str) -> str:
    return _url(value, ("redis", "rediss"), "empty for the embedded broker, or redis://:password@host:6379/0")


def _http_url(value: str) -> str:
    right = "empty, or an address such as https://models.example.com without a query"
    if value and (urlsplit(value).query or urlsplit(value).fragment):
        raise ValueError(right)
    return _url(value, ("http", "https"), right).rstrip("/")


def _email_url(value: str) -> str:
    right = "empty for files below VAR_DIR/mail, console:, or smtp://user:password@host:587"
    return value if value == "console:" else _url(value, ("smtp", "smtps"), right)


def _storage_url(value: str) -> str:
    right = (
        "empty for files below VAR_DIR, file:///absolute/folder, or "
        "s3://bucket/prefix?endpoint_url=https://host&region=name"
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
    raise ValueError(right)


def _secret(value: str) -> str:
    if value and len(value) < 32:
        raise ValueError("empty to have one made, or at least 32 random characters")
    return value


def _ed25519_key(value: str) -> str:
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


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "HOST",
        "127.0.0.1",
        _host,
        "Address that the portal and the API listen on; 0.0.0.0 is every network of this machine.",
    ),
    Setting("PORT", "8000", _number(1, 65535), "Port that the portal and the API listen on."),
    Setting(
        "VAR_DIR",
        "var",
        _folder,
        "Folder for everything that is kept: database, files, logs, keys. Relative to the checkout.",
    ),
    Setting(
        "DATABASE_URL",
        "",
        _database_url,
        "PostgreSQL 15 or newer, as postgresql://user:password@host:5432/database.",
        "the embedded PostgreSQL",
    ),
    Setting(
        "REDIS_URL",
        "",
        _redis_url,
        "Redis or Valkey for the job queue, as redis://:password@host:6379/0.",
        "the embedded broker",
    ),
    Setting(
        "STORAGE_URL",
        "",
        _storage_url,
        "Where files lie: file:///folder or s3://bucket/prefix?endpoint_url=…&region=….",
        "the folder blobs below VAR_DIR",
    ),
    Setting(
        "AWS_ACCESS_KEY_ID",
        "",
        _text,
        "Key for an s3:// STORAGE_URL; without it, the machine's own AWS credentials are used.",
        "none",
    ),
    Setting("AWS_SECRET_ACCESS_KEY", "", _text, "Secret that belongs to AWS_ACCESS_KEY_ID.", "none"),
    Setting(
        "SECRET_KEY",
        "",
        _secret,
        "Signs sessions and links; at least 32 random characters, the same on every node.",
        "made once, kept in VAR_DIR/secret_key",
    ),
    Setting(
        "PUBLIC_URL",
        "",
        _http_url,
        "Address that people and SDKs use, when it is not http://HOST:PORT (behind a proxy, for example).",
        "http://HOST:PORT",
    ),
    Setting(
        "ALLOWED_HOSTS",
        "",
        _list(_ALLOWED_HOST, "host names with commas between them, such as models.example.com,localhost"),
        "Host names that requests may carry, with commas between them.",
        "localhost, 127.0.0.1, [::1], HOST and PUBLIC_URL's host",
    ),
    Setting(
        "DEBUG",
        "0",
        _flag,
        "1 shows tracebacks in the browser; only allowed while HOST is a loopback address.",
    ),
    Setting("WEB_WORKERS", "2", _number(1, 64), "Web processes."),
    Setting(
        "WEB_THREADS",
        "32",
        _number(1, 512),
        "Threads of each web process: so many requests are answered at once.",
    ),
    Setting("WORKER_CONCURRENCY", "2", _number(1, 256), "Jobs that run side by side."),
    Setting(
        "SERVING_ENGINE_URL",
        "",
        _http_url,
        "Control address of a serving engine that runs elsewhere.",
        "the embedded engine",
    ),
    Setting(
        "SERVING_ENGINE_TOKEN",
        "",
        _secret,
        "Token for the serving engine's control address; at least 32 characters.",
        "made once, kept in VAR_DIR/serving_token",
    ),
    Setting(
        "NO_GPU",
        "",
        _optional(_one_of("cpu", "wait")),
        "What a deployment does whose GPU type is missing: cpu runs it on the CPU, wait keeps it Pending.",
        "cpu with the embedded engine, else wait",
    ),
    Setting(
        "DOWNLOADS",
        "app",
        _one_of("app", "nginx", "presign"),
        "Who sends files: app is the web server, nginx a front server by X-Accel-Redirect (local disk), "
        "presign the bucket by an address that is good for minutes (S3).",
    ),
    Setting(
        "UPLOADS",
        "app",
        _one_of("app", "presign"),
        "Who takes large files: app is the web server, presign the bucket itself, each part at an address that is "
        "good for an hour (S3; clients must reach the bucket).",
    ),
    Setting(
        "WEBHOOKS_TO_PRIVATE",
        "0",
        _flag,
        "1 lets webhooks go to private and loopback addresses too; only for networks where every member is trusted.",
    ),
    Setting(
        "EMAIL_URL",
        "",
        _email_url,
        "Server that e-mail goes through: smtp://user:password@host:587 (with STARTTLS), smtps://user:password@host:465, "
        "or console: for the log.",
        "files below VAR_DIR/mail",
    ),
    Setting("EMAIL_FROM", "Model Registry <registry@localhost>", _text, "Sender of e-mail."),
    Setting(
        "GPU_TYPES",
        "T4,L4,V100,A10,A10G,L40S,A100,H100,H200",
        _list(_GPU_TYPE, "names with commas between them, such as T4,A10,H100"),
        "GPU types that a deployment may ask for, with commas between them.",
    ),
    Setting(
        "LOG_LEVEL",
        "INFO",
        _one_of(*LOG_LEVELS),
        "How much is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    ),
    Setting(
        "DEMO", "1", _flag, "1 plays examples/integration.py when the database is empty, 0 leaves it out."
    ),
    Setting(
        "MAX_UPLOAD_BYTES",
        str(50 * 2**30),
        _number(1, 2**53),
        "Largest single file that may be uploaded, in bytes.",
        "50 GiB, 53687091200",
    ),
    Setting(
        "BLOB_GRACE_HOURS",
        "24",
        _number(2, 8760),
        "Hours for which uploaded bytes are kept that nothing refers to (yet).",
    ),
    Setting(
        "UPLOAD_HOURS",
        "24",
        _number(1, 8760),
        "Hours after its last part for which an upload in parts can be gone on with.",
    ),
    Setting(
        "TRASH_DAYS",
        "30",
        _number(0, 36500),
        "Days for which what was deleted can be restored; 0 makes it permanent at once.",
    ),
    Setting(
        "BUNDLE_SIGNING_KEY",
        "",
        _ed25519_key,
        "Ed25519 private key (PEM) that signs exported bundles, the same on every node.",
        "made once, kept in VAR_DIR/keys/bundle.pem",
    ),
    Setting(
        "BUNDLE_TRUSTED_KEYS",
        "",
        _list(_PUBLIC_KEY, "public keys in base64, 44 characters each, with commas between them"),
        "Public keys of other servers whose bundles may be imported here, with commas between them.",
        "only this server's own",
    ),
    Setting(
        "POSTGRES_SOURCE",
        "auto",
        _one_of("auto", "system", "wheel"),
        "Programs of the embedded PostgreSQL: system, wheel, or auto (system where there is one).",
    ),
)
NAMES: tuple[str, ...] = tuple(setting.name for setting in SETTINGS)
SECRETS = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "AWS_SECRET_ACCESS_KEY",
        "SECRET_KEY",
        "SERVING_ENGINE_TOKEN",
        "BUNDLE_SIGNING_KEY",
    }
)


def load(environ: Mapping[str, str]) -> Env:
    """Read all settings from `environ`. An empty value counts as not set.

    Raises BadSetting with one sentence for each setting that is wrong.
    """
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for setting in SETTINGS:
        text = environ.get(setting.name, "").strip() or setting.default
        try:
            values[setting.name.lower()] = setting.parse(text)
        except ValueError as error:
            wrong.append(f"{setting.name} {_shown(setting.name, text)}: it must be {error}.")
    if not wrong:
        wrong = _together(values)
    if wrong:
        raise BadSetting(*wrong)
    return Env(**_filled(values))


def kept_secret(path: Path) -> str:
    """The secret kept in the file `path`; made at the first call, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
        # A link appears whole or not at all, and never replaces what another process made first.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


def as_markdown() -> str:
    """The page docs/settings.md."""
    rows = [f"| `{s.name}` | {_default_shown(s)} | {s.description} |" for s in SETTINGS]
    return "\n".join([*_PAGE_HEAD, *rows, *_PAGE_FOOT])


_PAGE_HEAD = (
    "# Settings",
    "",
    "Every setting is an environment variable: `make run PORT=9000`, or `export PORT=9000` before it.",
    "An empty value counts as not set. A bad value stops the start with a sentence that says what is right.",
    "",
    "| Setting | Default | What it does |",
    "| --- | --- | --- |",
)
_PAGE_FOOT = (
    "",
    "Yes is written `1`, `true`, `yes` or `on`, no is written `0`, `false`, `no` or `off`.",
    "This page is made by `python -m config.env > docs/settings.md`; a test keeps it equal to the code.",
    "",
)


def _default_shown(setting: Setting) -> str:
    return setting.default_note or f"`{setting.default}`"


def _shown(name: str, text: str) -> str:
    return "is wrong (its value is not shown)" if name in SECRETS else f"is {text!r}"


def _together(values: Mapping[str, Any]) -> list[str]:
    """Sentences on settings that are good one by one and wrong together."""
    wrong = []
    if values["debug"] and not _is_loopback(values["host"]):
        wrong.append(
            f"DEBUG is on while HOST is {values['host']!r}: tracebacks would be shown to the network; "
            "set DEBUG=0 or HOST=127.0.0.1."
        )
    if bool(values["aws_access_key_id"]) != bool(values["aws_secret_access_key"]):
        wrong.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: set both or neither.")
    on_s3 = values["storage_url"].startswith("s3:")
    if values["downloads"] == "presign" and not on_s3:
        wrong.append("DOWNLOADS=presign needs a bucket: set STORAGE_URL to s3://….")
    if values["uploads"] == "presign" and not on_s3:
        wrong.append("UPLOADS=presign needs a bucket: set STORAGE_URL to s3://….")
    if values["downloads"] == "nginx" and on_s3:
        wrong.append(
            "DOWNLOADS=nginx needs files on local disk: leave STORAGE_URL out, or set DOWNLOADS=presign."
        )
    if values["serving_engine_url"] and not values["serving_engine_token"]:
        wrong.append("SERVING_ENGINE_URL needs SERVING_ENGINE_TOKEN: set it to that engine's token.")
    return wrong


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """Defaults that follow from other settings."""
    host = values["host"]
    public_url = values["public_url"] or f"http://{_reachable(host)}:{values['port']}"
    own_hosts = [
        "localhost",
        "127.0.0.1",
        "[::1]",
        _reachable(host),
        _bracketed(urlsplit(public_url).hostname or ""),
    ]
    return values | {
        "public_url": public_url,
        "allowed_hosts": values["allowed_hosts"] or tuple(dict.fromkeys(own_hosts)),
        "storage_url": values["storage_url"] or (values["var_dir"] / "blobs").as_uri(),
        "no_gpu": values["no_gpu"] or ("wait" if values["serving_engine_url"] else "cpu"),
    }


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reachable(host: str) -> str:
    """The host as it is written into an address; a wildcard is reached by loopback."""
    if host in WILDCARDS:
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"  # noqa: S104
    return _bracketed(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    print(as_markdown(), end="")
