"""What lies in VAR_DIR beside the servers' own data: the lock, the secrets, the environment files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from config.env import Env
from launcher import ports
from launcher.errors import LaunchError

EXPORTED = ("PODSTACK_API_ENDPOINT", "PODSTACK_API_TOKEN", "PODSTACK_PROJECT")


def make_var_dir(path: Path) -> None:
    """Make VAR_DIR, and the folders in it that only we may read. Raises LaunchError when it cannot."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(path.stat().st_mode & 0o711)
        for name in ("logs", "blobs"):
            (path / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise LaunchError(
            f"The folder {path} cannot be written ({error.strerror}): set VAR_DIR to one that can."
        ) from error


def lock(path: Path) -> int:
    """Take VAR_DIR for this launcher; the lock goes with the process. Raises LaunchError when it is taken."""
    descriptor = os.open(path / "launcher.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 20).decode().strip()
        raise LaunchError(
            f"The platform is already running on {path} (process {pid}): end that one first, "
            "or set VAR_DIR, PORT and GATEWAY_PORT to run a second one beside it."
        ) from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def check_port(host: str, port: int, setting: str = "PORT") -> None:
    """Raises LaunchError when the portal, or the gateway, could not listen on its port."""
    try:
        free = ports.is_free(port, host)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise LaunchError(
                f"{setting} {port} is for root alone: set {setting} to one above 1023."
            ) from error
        raise LaunchError(
            f"HOST {host} is no address of this machine ({error.strerror}): set HOST to one of its own."
        ) from error
    if not free:
        raise LaunchError(
            f"Port {port} of {host} is taken: end what listens there, or set {setting} to another one."
        )


def with_secrets(env: Env) -> Env:
    """The settings with SECRET_KEY and SERVING_ENGINE_TOKEN filled in from VAR_DIR."""
    return replace(
        env,
        secret_key=env.secret_key or kept_secret(env.var_dir / "secret_key"),
        serving_engine_token=env.serving_engine_token or kept_secret(env.var_dir / "serving_token"),
    )


def write_exports(path: Path, values: Mapping[str, str]) -> None:
    """Write `export NAME=value` lines for a shell, readable by the owner only, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(line + "\n" for line in export_lines(values))
    draft.replace(path)


def read_exports(path: Path) -> dict[str, str]:
    """What `write_exports` wrote (or a person, as NAME=value lines); empty when there is no such file."""
    try:
        words = shlex.split(path.read_text(), comments=True)
    except FileNotFoundError:
        return {}
    pairs = (word.partition("=") for word in words if "=" in word)
    return {name: value for name, _, value in pairs}


def export_lines(values: Mapping[str, str]) -> list[str]:
    """Lines to paste into a shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items()]


def sdk_exports(env: Env) -> dict[str, str]:
    """The three variables that the SDK reads, from VAR_DIR/dev.env; empty before the first start."""
    values = read_exports(env.var_dir / "dev.env")
    return {name: values[name] for name in EXPORTED if name in values}


def refresh_endpoint(env: Env) -> None:
    """Keep dev.env true when the platform's address has changed."""
    path = env.var_dir / "dev.env"
    values = read_exports(path)
    if values and values.get("PODSTACK_API_ENDPOINT") != env.public_url:
        write_exports(path, values | {"PODSTACK_API_ENDPOINT": env.public_url})


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
