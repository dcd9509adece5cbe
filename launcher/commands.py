"""The platform's own processes: what each is called, its command line and its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from config.env import ROOT, Env
from launcher import ports
from launcher.process import Child
from serving.environments import installer_environment
from serving.service import Settings

PYTHON = sys.executable
CONNECTIONS_EACH = 16  # the pool of one process, see DATABASES in config/settings.py


CONNECTIONS_OF_A_GATEWAY = 5  # see gateway/database.py
GATEWAYS_OWN = (
    "TMPDIR",
    "GATEWAY_MAX_BODY_BYTES",
    "GATEWAY_BODY_SECONDS",
    "GATEWAY_MAX_HELD_BYTES",
    "GATEWAY_MAX_OF_A_PERSON",
)


def connections_needed(env: Env) -> int:
    """So many connections the platform's processes may open to PostgreSQL, with some to spare for people."""
    processes = env.web_workers + env.worker_concurrency + env.long_jobs + 4
    gateways = env.gateway_workers * CONNECTIONS_OF_A_GATEWAY
    return max(100, processes * CONNECTIONS_EACH + gateways + 20)


def child_environment(env: Env, environ: Mapping[str, str]) -> dict[str, str]:
    """For processes that are trusted with the platform's secrets: the settings, all resolved."""
    own = env.as_environ() | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    if os.geteuid() == 0:
        own["C_FORCE_ROOT"] = "1"
    kept = {name: value for name, value in environ.items() if value}
    return kept | {name: value for name, value in own.items() if value}


def engine_environment(token: str, environ: Mapping[str, str]) -> dict[str, str]:
    """For the process that starts models' code: nothing of the platform but its own token.

    Beside it, the engine's own settings, and what its installer of packages needs to know of this machine.
    """
    own = {f"SERVING_{name.upper()}" for name in Settings.__dataclass_fields__}
    return {
        **installer_environment(environ),
        **{name: environ[name] for name in own if environ.get(name)},
        "PATH": environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "SERVING_ENGINE_TOKEN": token,
    }


def engine(env: Env, port: int, environ: Mapping[str, str]) -> Child:
    """The embedded serving engine."""
    argv = [PYTHON, "-m", "serving.engine", "--host", ports.LOOPBACK, "--port", str(port)]
    argv += ["--state-dir", str(env.var_dir / "engine")]
    return Child("engine", argv, log=log_of(env, "engine"), cwd=ROOT, env=environ)


def web(env: Env, environ: Mapping[str, str]) -> Child:
    """The portal and the API."""
    argv = [PYTHON, "-m", "launcher.web", "--host", env.host, "--port", str(env.port)]
    argv += ["--workers", str(env.web_workers), "--threads", str(env.web_threads)]
    argv += ["--log-level", env.log_level.lower()]
    return Child("web", argv, log=log_of(env, "web"), cwd=ROOT, env=environ)


def gateway(env: Env, environ: Mapping[str, str]) -> Child:
    """What answers at the endpoints' addresses; of the secrets it is given the database's address only."""
    argv = [PYTHON, "-m", "gateway", "--host", env.host, "--port", str(env.gateway_port)]
    argv += ["--workers", str(env.gateway_workers), "--log-level", env.log_level.lower()]
    own = {"PATH": environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    own |= {"PYTHONPATH": str(ROOT), "DATABASE_URL": env.database_url}
    own |= {name: environ[name] for name in GATEWAYS_OWN if environ.get(name)}
    return Child("gateway", argv, log=log_of(env, "gateway"), cwd=ROOT, env=own)


def worker(env: Env, environ: Mapping[str, str]) -> Child:
    """Celery's worker for the clock and for jobs that take moments."""
    return _worker(env, environ, "worker", "celery", env.worker_concurrency)


def long_worker(env: Env, environ: Mapping[str, str]) -> Child:
    """Celery's worker for jobs that may take minutes."""
    return _worker(env, environ, "long-worker", "long", env.long_jobs)


def _worker(env: Env, environ: Mapping[str, str], name: str, queue: str, concurrency: int) -> Child:
    argv = [PYTHON, "-m", "celery", "-A", "config", "worker", "--loglevel", env.log_level]
    argv += ["--queues", queue, "--concurrency", str(concurrency), "--prefetch-multiplier", "1", "-O", "fair"]
    argv += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return Child(name, argv, log=log_of(env, name), cwd=ROOT, env=environ)


def ticker(env: Env, environ: Mapping[str, str]) -> Child:
    """Celery's clock."""
    argv = [PYTHON, "-m", "celery", "-A", "config", "beat", "--loglevel", env.log_level, "--pidfile="]
    argv += ["--scheduler", "django_celery_beat.schedulers:DatabaseScheduler"]
    return Child("ticker", argv, log=log_of(env, "ticker"), cwd=ROOT, env=environ)


def dispatcher(env: Env, environ: Mapping[str, str]) -> Child:
    """Hands due jobs from the database to the broker."""
    return manage(env, environ, "dispatcher", "dispatch_jobs")


def manage(env: Env, environ: Mapping[str, str], name: str, *words: str) -> Child:
    """A command of manage.py."""
    argv = [PYTHON, str(ROOT / "manage.py"), *words]
    return Child(name, argv, log=log_of(env, name), cwd=ROOT, env=environ)


def log_of(env: Env, name: str) -> Path:
    """Where a process of this name logs."""
    return env.var_dir / "logs" / f"{name}.log"
