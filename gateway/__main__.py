"""`python -m gateway --host H --port P [--workers N]`; DATABASE_URL in the environment."""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys
import tempfile
from pathlib import Path

import uvicorn

from gateway.app import Gateway, Settings
from gateway.limits import SIZE, Limits
from gateway.request import BODY_SECONDS

DRAIN_SECONDS = 30


def application() -> Gateway:
    """What each process serves, from the environment."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 25, 50)
    return Gateway(
        Settings(
            os.environ["DATABASE_URL"],
            int(os.environ.get("GATEWAY_MAX_BODY_BYTES", 16 * 2**20)),
            Path(os.environ["GATEWAY_LIMITS"]),
            float(os.environ.get("GATEWAY_BODY_SECONDS", BODY_SECONDS)),
            int(os.environ.get("GATEWAY_MAX_HELD_BYTES", 512 * 2**20)),
            int(os.environ.get("GATEWAY_MAX_OF_A_PERSON", 500)),
        )
    )


def main(words: list[str]) -> None:
    """Serves until it is told to stop; running requests are answered first."""
    parser = argparse.ArgumentParser("gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log-level", default="info")
    given = parser.parse_args(words)
    if not os.environ.get("DATABASE_URL"):
        sys.exit("DATABASE_URL is not set: the gateway reads rights and routes from the platform's database.")
    _raise_files()
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        os.environ["GATEWAY_LIMITS"] = _limits(Path(folder, "limits"))
        uvicorn.run(
            "gateway.__main__:application",
            factory=True,
            host=given.host,
            port=given.port,
            workers=given.workers,
            loop="uvloop",
            http="gateway.protocol:BoundedProtocol",
            ws="none",
            lifespan="on",
            log_level=given.log_level,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=2048,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )


def _raise_files() -> None:
    """As many open files as this machine allows: a request has two, and who connects and asks nothing has one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _limits(path: Path) -> str:
    """The file that all processes share, made before the first of them."""
    try:
        Limits(path).close()
    except OSError as error:
        sys.exit(
            f"The gateway needs {SIZE >> 20} MiB for its limits in {path.parent.parent}: {error.strerror}. "
            "Make room there, or name another folder in TMPDIR."
        )
    return str(path)


if __name__ == "__main__":
    main(sys.argv[1:])
