"""The REST API of a cluster's dashboard: applications, jobs, packages, nodes, logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from cluster.errors import ClusterAway, ClusterRefused

# The first PUT starts Serve's controller and proxies, which takes some seconds.
TIMEOUT = urllib3.Timeout(connect=2, read=30)
LONGEST_ANSWER = 64 << 20


@dataclass(frozen=True)
class Node:
    """A living machine of the cluster and what it offers: CPU, GPU, accelerator_type:T4, …"""

    node_id: str
    resources: Mapping[str, float]

    @property
    def accelerators(self) -> list[str]:
        """Kinds of GPU that it says it has."""
        found = (name.partition(":") for name in self.resources)
        return [kind for word, _, kind in found if word == "accelerator_type" and kind]


class Dashboard:
    """Talks to the dashboard at `url`, e.g. http://127.0.0.1:8265; every call carries the token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT, maxsize=8)

    def nodes(self) -> list[Node]:
        """The nodes that are alive."""
        answer = self._json("GET", "/api/v0/nodes?detail=1&limit=10000")
        rows = _at(answer, "data", "result", "result")
        return [
            Node(str(row.get("node_id")), row.get("resources_total") or {})
            for row in rows or []
            if row.get("state") == "ALIVE"
        ]

    def applications(self) -> dict[str, Any]:
        """All that Serve runs, as it tells it: `applications` by name, `proxies`, `http_options`."""
        answer = self._json("GET", "/api/serve/applications/")
        if not isinstance(answer.get("applications"), dict):
            raise ClusterAway(
                "The cluster's answer lists no applications: look at what listens at its address."
            )
        return answer

    def put_applications(self, world: Mapping[str, Any]) -> None:
        """States all that Serve is to run; what is not named is ended."""
        self._call("PUT", "/api/serve/applications/", json.dumps(world).encode())

    def has_package(self, name: str) -> bool:
        """Whether the cluster holds the package of this name."""
        return self._call("GET", f"/api/packages/gcs/{quote(name, safe='')}", may_miss=True) is not None

    def put_package(self, name: str, content: bytes) -> None:
        """Stores a package for its nodes."""
        path = f"/api/packages/gcs/{quote(name, safe='')}"
        self._call("PUT", path, content, kind="application/octet-stream")

    def job(self, name: str) -> dict[str, Any] | None:
        """What the cluster knows of a job, or None."""
        content = self._call("GET", f"/api/jobs/{quote(name, safe='')}", may_miss=True)
        return None if content is None else _parsed(content)

    def submit_job(self, wanted: Mapping[str, Any]) -> None:
        """Has a job run. One that is there already is left alone: the cluster answers 500 to a name it has."""
        try:
            self._call("POST", "/api/jobs/", json.dumps(wanted).encode())
        except ClusterAway:
            if self.job(str(wanted["submission_id"])) is None:
                raise

    def stop_job(self, name: str) -> None:
        """Asks a job to end; an unknown one has ended."""
        self._call("POST", f"/api/jobs/{quote(name, safe='')}/stop", b"", may_miss=True)

    def delete_job(self, name: str) -> None:
        """Forgets a job that has ended; one that still runs is kept."""
        try:
            self._call("DELETE", f"/api/jobs/{quote(name, safe='')}", may_miss=True)
        except (ClusterAway, ClusterRefused):
            return

    def job_log(self, name: str) -> bytes:
        """All that a job wrote so far."""
        content = self._call("GET", f"/api/jobs/{quote(name, safe='')}/logs", may_miss=True)
        return b"" if content is None else str(_parsed(content).get("logs") or "").encode()

    def log_files(self, node_id: str, pattern: str) -> list[str]:
        """Names of a node's log files; none when it is gone."""
        query = urlencode({"node_id": node_id, "glob": pattern})
        found = _at(_parsed(self._of_node(f"/api/v0/logs?{query}") or b"{}"), "data", "result")
        kinds = found.values() if isinstance(found, dict) else []
        return sorted({str(name) for names in kinds for name in names})

    def log_tail(self, lines: int, node_id: str, filename: str) -> list[str]:
        """The last lines of a node's log file; none when it is gone."""
        query = urlencode({"node_id": node_id, "filename": filename, "lines": lines, "timeout": 10})
        content = self._of_node(f"/api/v0/logs/file?{query}") or b""
        return content.decode("utf-8", "replace").splitlines()[-lines:]

    def _of_node(self, path: str) -> bytes | None:
        """What a node answers through the dashboard; None when that node cannot be asked or has no such thing."""
        try:
            return self._call("GET", path, may_miss=True)
        except ClusterAway:
            self.nodes()  # raises when the cluster is away indeed
            return None

    def _json(self, method: str, path: str) -> dict[str, Any]:
        return _parsed(self._call(method, path) or b"")

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        kind: str = "application/json",
        may_miss: bool = False,
    ) -> bytes | None:
        """The answer's bytes; None for a 404 where that is an answer."""
        if not self.url:
            raise ClusterAway("No cluster is set: set RAY_ADDRESS to the address of its dashboard.")
        headers = self.headers if body is None else {**self.headers, "Content-Type": kind}
        try:
            response = self.pool.request(method, self.url + path, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise ClusterAway("The cluster does not answer; it is asked again every few seconds.") from error
        if response.status == 404 and may_miss:
            return None
        if response.status in (401, 403):
            raise ClusterAway("The cluster refuses the platform's token: set RAY_TOKEN to the cluster's.")
        if response.status == 429 or response.status >= 500:
            raise ClusterAway(f"The cluster failed with status {response.status}{_last_line(response.data)}.")
        if response.status >= 300:
            raise ClusterRefused(
                f"The cluster refused this with status {response.status}{_last_line(response.data)}."
            )
        if len(response.data) > LONGEST_ANSWER:
            raise ClusterAway("The cluster's answer is too long to be one.")
        return bytes(response.data)


def accelerators_of(nodes: Sequence[Node]) -> dict[str, int]:
    """How many nodes have which kind of GPU."""
    counts: dict[str, int] = {}
    for node in nodes:
        for kind in node.accelerators:
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise ClusterAway("The cluster's answer is no JSON: look at what listens at its address.") from error
    if not isinstance(answer, dict):
        raise ClusterAway("The cluster's answer is no object: look at what listens at its address.")
    return answer


def _at(answer: Any, *names: str) -> Any:
    for name in names:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer


def _last_line(content: bytes) -> str:
    """`: ` and the last line of a traceback or a message, of at most 300 characters."""
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    return f": {lines[-1][:300].rstrip('.')}" if lines else ""
