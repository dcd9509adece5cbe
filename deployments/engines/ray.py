"""Ray Serve as the platform's engine: each service is an application of its own, said and seen by REST.

Nothing is remembered here. What is wanted lies in the database, word for word as it was put, so that a head that
has forgotten everything is told everything by the next call; what is, the cluster is asked each time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import urllib3
from django.utils.crypto import salted_hmac

from cluster import applications, packages
from cluster.dashboard import Dashboard, accelerators_of
from cluster.errors import ClusterAway, ClusterRefused
from deployments.engines import ray_logs
from deployments.engines.base import (
    EngineAway,
    EngineRefused,
    EngineWaits,
    Replica,
    Service,
    ServiceSpec,
    ServiceState,
)

SERVING = Path(__file__).resolve().parents[2] / "serving"
# The default of 5 starves a model that answers in microseconds.
MOST_AT_ONCE = 100
# As long as most endpoints' time-out; a replica without requests ends at once.
DRAIN_SECONDS = 120
PREPARES = "A node of the cluster prepares it: its files, its packages, then the model itself."
PROBE = urllib3.Timeout(connect=1, read=5)
NOT_YET = (404, 503)  # as the proxy answers for an application that it does not know yet
BEGINS, RUNNING, STOPPING = "STARTING", "RUNNING", "STOPPING"
UNPLACED, UNPLACED_SECONDS = "to be scheduled", 30  # as Serve says it, and when
REPLICA_STATES = {
    RUNNING: ServiceState.READY,
    STOPPING: ServiceState.STOPPING,
    "PENDING_MIGRATION": ServiceState.READY,
}
_SENTENCE = re.compile(r"serving\.problems\.CannotLoad: (.+)")


class RayEngine:
    """`serve_url` is where the cluster's proxies answer. `files_url` names, for a service, the address of its model's
    files; None where all nodes see the model's folder."""

    def __init__(
        self,
        dashboard: Dashboard,
        serve_url: str,
        files_url: Callable[[str], str] | None,
        most_bytes: int,
        longest_preparation: timedelta = timedelta(minutes=30),
    ) -> None:
        self.dashboard, self.serve_url = dashboard, serve_url.rstrip("/")
        self.longest_preparation = longest_preparation
        self.files_url, self.most_bytes = files_url, most_bytes
        self.pool = urllib3.PoolManager(retries=False, timeout=PROBE, maxsize=8)

    @property
    def reads_folders(self) -> bool:
        return self.files_url is None

    def apply(self, spec: ServiceSpec) -> Service:
        with _told():
            self._check_gpu(spec)
            app = self._seen(spec.service_id)
            before = applications.wanted(spec.service_id)
            attempt = 0 if before is None else before["args"]["attempt"]
            # Serve leaves a failed application alone as long as its arguments are the same.
            if app is not None and _state(app) == ServiceState.FAILED:
                attempt += 1
            config = self._config(spec, attempt)
            if app is not None and before is not None and _files(before) != _files(config):
                raise EngineRefused(f"The service {spec.service_id} runs with other files; stop it first.")
            if app is None or config != before:
                applications.put(self.dashboard, self.serve_url, spec.service_id, config)
            return self.observe(spec.service_id) or self._service(spec.service_id, {})

    def observe(self, service_id: str) -> Service | None:
        with _told():
            app = self._seen(service_id)
            if app is None:
                return None
            service = self._service(service_id, app)
            if service.state == ServiceState.READY and not self._answers(service):
                reason = "Its replicas do not answer yet through the cluster's proxy."
                return self._service(service_id, app, ServiceState.STARTING, reason)
            if service.state == ServiceState.STARTING and applications.wanted(service_id):
                self._send_code()  # a cluster forgets packages that no living replica uses
            return service

    def services(self) -> Sequence[Service]:
        with _told():
            found = self.dashboard.applications()["applications"]
            return [self._service(name, app) for name, app in found.items()]

    def logs(self, service_id: str, tail: int, replica: str | None = None, search: str = "") -> Sequence[str]:
        with _told():
            living = [one["replica_id"] for one in _replicas(self._seen(service_id) or {})] if replica else []
            return ray_logs.lines_of(self.dashboard, service_id, tail, search, replica, living)

    def stop(self, service_id: str) -> None:
        with _told():
            applications.remove(self.dashboard, self.serve_url, service_id)

    def gpu_types(self) -> Sequence[str]:
        """The kinds of GPU that the cluster has now."""
        with _told():
            return sorted(accelerators_of(self.dashboard.nodes()))

    def _check_gpu(self, spec: ServiceSpec) -> None:
        """Serve would wait for ever, and say nothing."""
        if not spec.gpu_type:
            return
        found = accelerators_of(self.dashboard.nodes())
        if spec.gpu_type not in found:
            has = ", ".join(f"{kind} ({count} nodes)" for kind, count in sorted(found.items())) or "no GPU"
            raise EngineWaits(f"No node of the cluster has a {spec.gpu_type}; what it has: {has}.")

    def _config(self, spec: ServiceSpec, attempt: int) -> dict[str, Any]:
        prefix = f"/{spec.service_id}"
        needs = {"num_gpus": 1, "accelerator_type": spec.gpu_type} if spec.gpu_type else {}
        return {
            "name": spec.service_id,
            "route_prefix": prefix,
            "import_path": "serving.ray_app:build",
            "runtime_env": {"working_dir": self._send_code(), "env_vars": {"OMP_NUM_THREADS": "1"}},
            "args": {
                "route_prefix": prefix,
                "service_id": spec.service_id,
                "endpoint_name": spec.endpoint_name,
                "model_name": spec.model_name,
                "model_version": spec.model_version,
                "key": key_of(spec.service_id),
                "max_body_bytes": self.most_bytes,
                "max_batch_size": spec.max_batch_size,
                "max_delay_ms": spec.max_delay_ms,
                "model_dir": "" if self.files_url else str(spec.model_dir),
                "files_url": self.files_url(spec.service_id) if self.files_url else "",
                "files_digest": spec.model_dir.name,
                "attempt": attempt,
            },
            "deployments": [
                {
                    "name": "Model",
                    "num_replicas": spec.replicas,
                    "max_ongoing_requests": MOST_AT_ONCE,
                    "graceful_shutdown_timeout_s": DRAIN_SECONDS,
                    "ray_actor_options": {"num_cpus": 1, **needs},
                }
            ],
        }

    def _send_code(self) -> str:
        return packages.send(self.dashboard, packages.zip_of(packages.sources_of(SERVING)))

    def _seen(self, service_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.dashboard.applications()["applications"].get(service_id)
        return found

    def _service(
        self,
        service_id: str,
        app: Mapping[str, Any],
        state: ServiceState | None = None,
        reason: str | None = None,
    ) -> Service:
        state = state or _state(app)
        ready = state == ServiceState.READY
        if prepares := state == ServiceState.STARTING and _prepares(app):
            reason = PREPARES + _failed_before(app)
        if unplaced := (ready or state == ServiceState.STARTING) and _is_unplaced(app, of_some=ready):
            reason = _no_room_for(service_id) + ("." if ready else ": the endpoint waits until one has.")
        return Service(
            service_id=service_id,
            state=state,
            address=f"{self.serve_url}/{service_id}" if ready else "",
            key=key_of(service_id) if ready else "",
            reason=_reason(app, state) if reason is None else reason,
            preparing=prepares,
            unplaced=unplaced,
            replicas=[
                Replica(one["replica_id"], REPLICA_STATES.get(one["state"], ServiceState.STARTING))
                for one in _replicas(app)
            ],
        )

    def _answers(self, service: Service) -> bool:
        """Whether requests reach a replica: the proxy learns of one a moment after it is ready.

        A slow answer is one: the endpoint's address must not go away because it has much to do.
        """
        headers = {"X-Serving-Key": service.key}
        try:
            response = self.pool.request("GET", f"{service.address}/v2/health/ready", headers=headers)
        except urllib3.exceptions.NewConnectionError:  # which urllib3 counts among the time-outs
            return False
        except urllib3.exceptions.TimeoutError:
            return True
        except urllib3.exceptions.HTTPError:
            return False
        return response.status not in NOT_YET


@contextmanager
def _told() -> Iterator[None]:
    """The cluster's errors as an engine's."""
    try:
        yield
    except ClusterAway as error:
        raise EngineAway(str(error)) from error
    except ClusterRefused as error:
        raise EngineRefused(str(error)) from error


def key_of(service_id: str) -> str:
    """The same each time, so that it need not be kept: what requests to this service carry."""
    return salted_hmac("deployments.engines.ray", service_id, algorithm="sha256").hexdigest()


def _files(config: Mapping[str, Any]) -> tuple[str, str]:
    return config["args"]["model_dir"], config["args"]["files_digest"]


def _deployments(app: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((app.get("deployments") or {}).values())


def _replicas(app: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [replica for one in _deployments(app) for replica in one.get("replicas") or []]


def _prepares(app: Mapping[str, Any]) -> bool:
    """Whether replicas begin on their nodes, which limit each of their steps.

    How often, nobody does: Serve tries again for ever where a replica answered before.
    """
    return any(one["state"] == BEGINS and one.get("node_id") for one in _replicas(app))


def _is_unplaced(app: Mapping[str, Any], *, of_some: bool) -> bool:
    """Whether Serve has looked for a node for half a minute and found none: for all of its replicas, or for some.

    It says so, but for what it lost before: that stays UNHEALTHY by its words until it runs again.
    """
    coming = [one for one in _replicas(app) if one["state"] != STOPPING]
    waiting = [one for one in coming if one["state"] == BEGINS and not one.get("node_id")]
    if not waiting or not (of_some or len(waiting) == len(coming)):
        return False
    began = min(float(one.get("start_time_s") or time.time()) for one in waiting)
    return UNPLACED in _said(app) or time.time() - began > UNPLACED_SECONDS


def _no_room_for(service_id: str) -> str:
    wanted = applications.wanted(service_id) or {"deployments": []}
    kinds = [one["ray_actor_options"].get("accelerator_type") for one in wanted["deployments"]]
    needs = " and ".join(["a CPU", *(f"a {kind}" for kind in kinds if kind)])
    return f"No node of the cluster has {needs} free"


def _state(app: Mapping[str, Any]) -> ServiceState:
    """By what answers: an application that is being deployed, or failed to be, may go on with older replicas."""
    status = app.get("status")
    if status == "DELETING":
        return ServiceState.STOPPING
    if any(replica["state"] == RUNNING for replica in _replicas(app)):
        return ServiceState.READY
    return ServiceState.FAILED if status == "DEPLOY_FAILED" else ServiceState.STARTING


def _reason(app: Mapping[str, Any], state: ServiceState) -> str:
    """What Serve says of it, in one sentence; the loader's own where there is one."""
    if state == ServiceState.READY:
        return ""
    said = _said(app)
    if found := _SENTENCE.search(said):
        return found[1].strip()[:500]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if state == ServiceState.FAILED and lines else " ".join(said.split()))[:500]


def _failed_before(app: Mapping[str, Any]) -> str:
    """Why the try before this one failed, as another sentence, or ""."""
    found = _SENTENCE.search(_said(app))
    return f" The try before failed: {found[1].strip()[:300]}" if found else ""


def _said(app: Mapping[str, Any]) -> str:
    return "\n".join(str(one.get("message") or "") for one in (app, *_deployments(app)))
