"""What the engine starts for a service: limits first, then gunicorn's master with the model's workers.

`python -m serving.spawn JSON` with the service's key in SERVING_KEY. Reports one JSON line per event
(loading, loaded, failed, gone) on the status descriptor.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

from serving.output import label_output
from serving.tied import die_with, prctl

PR_SET_NO_NEW_PRIVS = 38
MOST_THREADS = 64
LOAD_FAILED = 4  # gunicorn's master gives up when a worker exits with this code


def limit_self(limits: dict[str, int]) -> None:
    """Set what this process and all its children may use: memory, processes, no core files."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, 4096)
    if limits["memory_bytes"]:
        _limit(resource.RLIMIT_AS, limits["memory_bytes"])
    _limit(resource.RLIMIT_FSIZE, limits["file_bytes"])
    if limits["processes"]:
        _limit(resource.RLIMIT_NPROC, limits["processes"])
    os.umask(0o077)
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def _limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(which, (most, most))


_Application: Any = importlib.import_module("gunicorn.app.base").BaseApplication


class Server(_Application):  # type: ignore[misc]
    """gunicorn, configured from the engine's JSON instead of a command line."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._status: int = settings["status_fd"]
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings."""
        wanted = self._settings
        chosen = {
            "bind": [f"fd://{wanted['listen_fd']}"],
            "workers": wanted["replicas"],
            "worker_class": "gthread",
            # requests that wait to be joined hold a thread each
            "threads": max(wanted["threads"], min(wanted["max_batch_size"] + 1, MOST_THREADS)),
            # the engine's own limits on loading and draining come first
            "timeout": max(wanted["load_timeout"], wanted["grace"]) + 30,
            "graceful_timeout": wanted["grace"],
            "keepalive": 60,
            "errorlog": "-",
            "loglevel": "info",
            "proc_name": f"serving-{wanted['endpoint_name']}",
            "worker_tmp_dir": os.getcwd(),
            "control_socket_disable": True,
            "post_fork": self._after_fork,
            "child_exit": self._after_exit,
        }
        for name, value in chosen.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """In a worker: load the model, then answer. A model that cannot be loaded ends the service."""
        from serving.loaders import load, one_line
        from serving.problems import CannotLoad
        from serving.runtime import Application, Identity

        wanted = self._settings
        try:
            model, detected = load(Path(wanted["model_dir"]))
        except CannotLoad as error:
            traceback.print_exc()
            self._fail(str(error))
        except BaseException as error:
            traceback.print_exc()
            self._fail(f"The model ended its process while loading: {one_line(error)}.")
        identity = Identity(
            wanted["endpoint_name"],
            wanted["model_name"],
            str(wanted["model_version"]),
            os.environ.pop("SERVING_KEY"),
            wanted["max_body_bytes"],
            wanted["max_batch_size"],
            wanted["max_delay_ms"],
        )
        application = Application(model, detected, identity)
        try:
            application.warm_up()
        except Exception as error:
            traceback.print_exc()
            self._fail(f"The model failed on its own example: {one_line(error)}.")
        self._tell(event="loaded", pid=os.getpid())
        return application

    def _fail(self, reason: str) -> None:
        self._tell(event="failed", pid=os.getpid(), reason=reason)
        sys.exit(LOAD_FAILED)

    def _after_fork(self, arbiter: Any, worker: Any) -> None:
        die_with(arbiter.pid)
        label_output()
        self._tell(event="loading", pid=os.getpid())

    def _after_exit(self, arbiter: Any, worker: Any) -> None:
        self._tell(event="gone", pid=worker.pid)

    def _tell(self, **event: Any) -> None:
        line = json.dumps(event, ensure_ascii=True)[:3000] if "reason" not in event else _bounded(event)
        os.write(self._status, f"{line}\n".encode())


def _bounded(event: dict[str, Any]) -> str:
    return json.dumps({**event, "reason": event["reason"][:500]}, ensure_ascii=True)


def main() -> None:
    """Limit this process, tie it to the engine, and run gunicorn until it is told to stop."""
    settings = json.loads(sys.argv[1])
    die_with(settings["parent"])
    limit_self(settings["limits"])
    sys.argv = ["serving"]
    Server(settings).run()


if __name__ == "__main__":
    main()
