"""The serving engine: `python -m serving.engine --port P --state-dir DIR`, token in SERVING_ENGINE_TOKEN.

Starts one process group per service and ends them all with itself. Holds no route, no version and no
secret of the platform: what it is told by its control API is all it knows, and it starts empty.
"""

from __future__ import annotations

import argparse
import fcntl
import ipaddress
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from serving.control import ControlServer
from serving.service import Settings
from serving.services import Services

log = logging.getLogger("serving.engine")


def settings_from(environ: dict[str, str]) -> Settings:
    """Limits from SERVING_LOAD_TIMEOUT, SERVING_GRACE, SERVING_THREADS, SERVING_MEMORY_BYTES,
    SERVING_FILE_BYTES, SERVING_MAX_BODY_BYTES, SERVING_LOG_BYTES, SERVING_LOGS_KEEP, SERVING_INSTALL_TIMEOUT and
    SERVING_ENVIRONMENTS_KEEP, and SERVING_PACKAGES. Raises SystemExit with a sentence.
    """
    chosen: dict[str, Any] = {}
    for name, about in Settings.__dataclass_fields__.items():
        if about.type != "int":
            continue
        text = environ.get(f"SERVING_{name.upper()}", "")
        if text and not text.isdecimal():
            raise SystemExit(f"SERVING_{name.upper()} must be a whole number, not {text!r}.")
        if text:
            chosen[name] = int(text)
    chosen["packages"] = environ.get("SERVING_PACKAGES") or "version"
    if chosen["packages"] not in ("version", "platform"):
        raise SystemExit(f"SERVING_PACKAGES must be version or platform, not {chosen['packages']!r}.")
    return Settings(**chosen)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.engine", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    return parser.parse_args()


def _lock(state_dir: Path) -> int:
    """One engine per state folder. Raises SystemExit with a sentence."""
    state_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state_dir / "engine.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(
            f"Another serving engine uses {state_dir}; stop it, or choose another --state-dir."
        ) from None
    return descriptor


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> None:
    """Run until SIGTERM or SIGINT, then drain and end every service."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    arguments = _arguments()
    token = os.environ.pop("SERVING_ENGINE_TOKEN", "")
    if not token:
        raise SystemExit("SERVING_ENGINE_TOKEN is empty; set it to a long random text.")
    if not _is_loopback(arguments.host):
        raise SystemExit(
            f"--host {arguments.host} is not a loopback address; the engine listens on 127.0.0.1 only."
        )
    state_dir = arguments.state_dir.resolve()
    lock = _lock(state_dir)
    services = Services(state_dir, settings_from(dict(os.environ)))
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        services.wake()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        server = ControlServer((arguments.host, arguments.port), services, token)
    except OSError as error:
        raise SystemExit(
            f"Port {arguments.port} cannot be used ({error.strerror}); choose another --port."
        ) from None
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()
    log.info("The serving engine listens on %s:%s.", *server.server_address[:2])
    while not stopping.is_set():
        services.step()
    server.shutdown()
    services.stop_all()
    os.close(lock)


if __name__ == "__main__":
    main()
