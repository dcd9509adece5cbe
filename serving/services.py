"""All services of the engine: what is wanted of them, and the loop that brings it about."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import select
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving import account, environments, processes
from serving.environments import Environments
from serving.problems import Problem
from serving.service import Service, Settings, Spec, tail

log = logging.getLogger("serving.engine")
BUSY_TICK, IDLE_TICK = 50, 500  # milliseconds
PROBE_SECONDS = 10
NO_SESSION = -1
ACCOUNTS = range(account.FIRST, account.LAST + 1)
LAST_SECONDS = 10  # for running requests when the engine itself ends


class Services:
    """Thread-safe for `put`, `get`, `all`, `delete`; `step` and `stop_all` belong to one thread, which must
    live as long as the engine: the kernel ties the serving processes to the thread that started them.
    """

    def __init__(
        self,
        state_dir: Path,
        settings: Settings,
        *,
        logs: Path | None = None,
        environments: Path | None = None,
        uid: int | None = None,
    ) -> None:
        """`logs` and `environments` may be shared with other engines of the machine; `uid` is the account of all
        services, where it is not chosen among those that are free.
        """
        self._run, self._logs, self._uid = state_dir / "run", logs or state_dir / "logs", uid
        self._file = state_dir / "services.json"
        self._settings = settings
        self._grace = settings.grace
        self._lock = threading.RLock()
        self._services: dict[str, Service] = {}
        self._asleep, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._asleep, False)
        self._said: set[str] = set()
        self._swept = 0.0
        self._make_folders(state_dir)
        self._environments = Environments(
            environments or state_dir / "environments", settings.install_timeout, settings.environments_keep
        )
        self._clean_leftovers()
        self._own_accounts = self._say_once(account.usable()) == ""

    def _make_folders(self, state_dir: Path) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(mode=0o700, exist_ok=True)
        self._run.mkdir(exist_ok=True)
        self._run.chmod(0o711)

    def _say_once(self, sentence: str) -> str:
        if sentence and sentence not in self._said:
            self._said.add(sentence)
            log.warning(sentence)
        return sentence

    def _clean_leftovers(self) -> None:
        """End what an engine that was killed has left, known again by pid, start time and boot."""
        try:
            left = json.loads(self._file.read_text())
        except (OSError, ValueError):
            left = {}
        if left.get("boot") == processes.boot_id():
            for one in left.get("services", []):
                same = processes.start_time(one["pid"]) == one["start"]
                session = one["pid"] if same else NO_SESSION
                if processes.members(session, one["uid"]):
                    log.warning("Ending what an earlier engine left of a service (pid %s).", one["pid"])
                    processes.end_all(session, one["uid"])
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir()
        self._run.chmod(0o711)
        self._file.unlink(missing_ok=True)

    def put(self, name: str, spec: Spec) -> tuple[dict[str, object], bool]:
        """Want a service, or another number of replicas. Returns it, and whether this call began it.

        Raises `Problem` 409.
        """
        with self._lock:
            old = self._services.get(name)
            if old is not None and old.state == "stopping":
                raise Problem(409, f"Service '{name}' is being stopped; ask again when it is gone.")
            if old is not None and old.state != "failed":
                if replace(old.spec, replicas=spec.replicas) == spec:
                    old.spec = spec
                    self.wake()
                    return old.as_dict(), False
                raise Problem(
                    409, f"Service '{name}' runs with other settings; delete it first or take another id."
                )
            service = Service(name, spec, self._run / name, self._logs / f"{name}.log")
            service.load_seconds = self._settings.load_timeout
            self._services[name] = service
        self.wake()
        return service.as_dict(), True

    def get(self, name: str) -> Service:
        """A service by id, or `Problem` 404."""
        with self._lock:
            service = self._services.get(name)
        if service is None:
            raise Problem(404, f"There is no service '{name}'.")
        return service

    def lines(self, name: str, *, worker: str = "", **wanted: Any) -> list[str]:
        """The last lines of a service's log. One that ended is known by its log only, or `Problem` 404.

        `Problem` 400 for a worker that neither lives nor wrote what is kept.
        """
        log = self._logs / f"{name}.log"
        try:
            self._check_worker(name, log, worker)
            return tail(log, worker=worker, **wanted)
        except OSError:
            self.get(name)
            return []

    def _check_worker(self, name: str, log: Path, worker: str) -> None:
        with self._lock:
            service = self._services.get(name)
            living = [str(pid) for pid in service.workers] if service else []
        if worker and worker not in living and not tail(log, 1, worker):
            there_are = f": {', '.join(living)}" if living else "; none lives now"
            raise Problem(400, f"it must be the id of a replica{there_are}.")

    def _sweep_logs(self, used: set[Path]) -> None:
        """Remove, now and then, the logs of services that ended long ago; other engines keep what is used here."""
        now = time.monotonic()
        if self._swept and now - self._swept < environments.sweep_every(self._settings.logs_keep):
            return
        self._swept = now
        for path in used:
            with contextlib.suppress(OSError):
                os.utime(path)
        for path in self._logs.glob("*.log"):
            with contextlib.suppress(OSError):
                if path not in used and time.time() - path.stat().st_mtime > self._settings.logs_keep:
                    path.unlink()

    def all(self) -> list[dict[str, object]]:
        """All services, by id."""
        with self._lock:
            return [self._services[name].as_dict() for name in sorted(self._services)]

    def delete(self, name: str) -> dict[str, object]:
        """Want a service gone: drained, then ended. Raises `Problem` 404."""
        with self._lock:
            service = self.get(name)
            service.state = "stopping"
        self.wake()
        return service.as_dict()

    def wake(self) -> None:
        """Make the loop look now."""
        try:
            os.write(self._wake, b"x")
        except BlockingIOError:
            return

    def step(self) -> None:
        """Wait a moment or for news, then bring every service one step on."""
        with self._lock:
            known = list(self._services.values())
        busy = any(one.state in ("starting", "stopping") or one.told != one.spec.replicas for one in known)
        news = select.poll()
        news.register(self._asleep, select.POLLIN)
        for one in known:
            if one.status is not None and one.state == "starting":
                news.register(one.status, select.POLLIN)
        news.poll(BUSY_TICK if busy else IDLE_TICK)
        with contextlib.suppress(BlockingIOError):
            os.read(self._asleep, 65536)
        with self._lock:
            known = list(self._services.values())
        self._environments.sweep({one.environment.folder for one in known if one.environment})
        self._sweep_logs({one.log for one in known})
        for service in known:
            try:
                self._advance(service)
            except Exception as error:  # one service must not take the others down with the engine
                log.exception("Service %s could not be looked after.", service.id)
                self._fail(service, f"The engine could not look after the service: {error}.")

    def _advance(self, service: Service) -> None:
        if service.state == "stopping":
            self._advance_stop(service)
        elif service.state == "failed":
            return
        elif service.process is None:
            self._start(service)
        else:
            self._watch(service)

    def _start(self, service: Service) -> None:
        if not self._has_packages(service):
            return
        try:
            service.start(self._settings, self._account_for(service))
        except OSError as error:
            self._fail(service, f"The serving process could not be started: {error.strerror or error}.")
            return
        log.info("Started service %s (pid %s).", service.id, service.process.pid if service.process else "")
        self._remember()

    def _has_packages(self, service: Service) -> bool:
        """Whether the version's own packages are installed, or it has none; begins to install them."""
        listed = (
            environments.file_of(Path(service.spec.model_dir))
            if self._settings.packages == "version"
            else None
        )
        if listed is None:
            return True
        if service.environment is None:
            try:
                service.environment = self._environments.of(listed)
            except (environments.CannotInstall, OSError) as error:
                self._fail(service, str(error))
                return False
            service.reason = environments.BUILDING
        if not service.environment.done.is_set():
            return False
        service.copy_log_of(service.environment)
        if service.environment.reason:
            self._fail(service, service.environment.reason)
            return False
        service.reason = ""
        return True

    def _account_for(self, service: Service) -> int | None:
        if not self._own_accounts:
            return None
        if not _can_pass(self._run):
            self._say_once(
                f"Other accounts cannot pass through {self._run}, so serving processes run as root."
            )
            return None
        if not account.others_can_read(Path(service.spec.model_dir)):
            self._say_once(
                f"Other accounts cannot read {service.spec.model_dir}, so models there are served as root; "
                "make the folder readable (755, files 644)."
            )
            return None
        if self._uid is not None:
            return self._uid
        with self._lock:
            taken = {one.uid for one in self._services.values() if one.uid is not None and not one.ended}
        # Another engine may be on this machine; of two that look at once each begins anywhere.
        uid = account.free(taken | processes.owners(), random.sample(ACCOUNTS, len(ACCOUNTS)))
        if uid is None:
            raise OSError(f"all {len(ACCOUNTS)} accounts for serving processes are taken")
        return uid

    def _watch(self, service: Service) -> None:
        for event in service.events():
            self._hear(service, event)
        service.cap_log(self._settings.log_bytes)
        if service.state == "failed" or service.process is None:
            return
        code = service.process.poll()
        if code is not None:
            for event in service.events():
                self._hear(service, event)
            self._fail(service, service.reason or _ended(code, loading=service.state == "starting"))
            return
        service.scale(self._settings.grace)
        if service.state == "starting":
            self._watch_start(service)

    def _watch_start(self, service: Service) -> None:
        limit = self._settings.load_timeout
        if time.monotonic() - service.began > limit:
            self._fail(
                service, f"The model was not loaded within {limit} seconds; see the log of the endpoint."
            )
        elif service.loaded >= service.spec.replicas and not service.probing:
            service.probing = True
            threading.Thread(target=self._probe, args=[service], daemon=True).start()

    def _hear(self, service: Service, event: dict[str, Any]) -> None:
        kind, pid = event.get("event"), event.get("pid")
        if kind == "failed":
            service.reason = str(event.get("reason"))[:600]
            return
        if kind == "gone" and service.state == "starting" and service.workers.get(pid) == "starting":  # type: ignore[arg-type]
            self._fail(service, service.reason or _ended(None, loading=True))
        service.hear(kind, pid)

    def _probe(self, service: Service) -> None:
        """Ask the service itself; it is ready when it says so."""
        ask = urllib.request.Request(
            f"http://127.0.0.1:{service.port}/v2/health/ready", headers={"X-Serving-Key": service.key}
        )
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(ask, timeout=PROBE_SECONDS) as answer:
                good = answer.status == 200
        except (OSError, urllib.error.URLError, ValueError):
            good = False
        with self._lock:
            if good and service.state == "starting":
                service.state = "ready"
                log.info("Service %s is ready after %.2f s.", service.id, time.monotonic() - service.began)
            service.probing = False

    def _fail(self, service: Service, reason: str) -> None:
        """Nothing of the service runs any more once it is called failed."""
        service.end()
        with self._lock:
            if service.state != "stopping":
                service.state = "failed"
                service.reason = reason
        log.warning("Service %s failed: %s", service.id, reason)
        self._remember()

    def _advance_stop(self, service: Service) -> None:
        if service.asked_to_stop is None:
            service.stop_gracefully()
        running = service.process is not None and service.process.poll() is None
        waited = time.monotonic() - (service.asked_to_stop or 0)
        if running and waited < self._grace + 1:
            return
        service.end()
        with self._lock:
            if self._services.get(service.id) is service:
                del self._services[service.id]
        self._remember()
        log.info("Service %s is gone.", service.id)

    def _remember(self) -> None:
        with self._lock:
            known = [one for one in self._services.values() if one.process is not None]
        alive = [(one, processes.start_time(one.process.pid)) for one in known if one.process]
        rows = [
            {"pid": one.process.pid, "start": start, "uid": one.uid}
            for one, start in alive
            if start is not None and one.process
        ]
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps({"boot": processes.boot_id(), "services": rows}))
        draft.replace(self._file)

    def stop_all(self) -> None:
        """Drain and end every service; returns when no process is left."""
        self._grace = min(self._grace, LAST_SECONDS)
        with self._lock:
            for service in self._services.values():
                service.state = "stopping"
        while self.all():
            self.step()


def _can_pass(folder: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (folder, *folder.resolve().parents))


def _ended(code: int | None, *, loading: bool) -> str:
    when = "while it loaded the model" if loading else "while it served"
    if code is None or code == -signal.SIGKILL:
        return f"The serving process was ended by force {when}, perhaps for lack of memory."
    if code < 0:
        return f"The serving process was ended by {signal.Signals(-code).name} {when}."
    return f"The serving process exited with code {code} {when}; see the log of the endpoint."
