"""The same pieces of work, said to each server in its own words. Each maker gets a number it gets only once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bench.load import Client, Make
from bench.servers import Server

POINTS = 1000


@dataclass(frozen=True)
class Piece:
    """One row of the table: what is done, and how often we mean to beat the other server."""

    name: str
    aim: float
    ours: Make
    theirs: Make


class Ours:
    """What this platform is asked."""

    def __init__(self, server: Server, stamp: str) -> None:
        self.at = "/api/v1/projects/default"
        self.stamp = stamp
        self.client = Client(server.base, server.headers)
        self.run = self.client.send(("POST", f"{self.at}/runs", {"experiment_id": "bench"}))["id"]
        self._a_file(server)
        for number in range(2):
            self.client.send(self.create_version(number, "kept"))
        self.client.send(("PUT", f"{self.at}/models/kept/aliases/best", {"version": 1}))
        self._wait_until_ready()

    def _a_file(self, server: Server) -> None:
        import hashlib

        raw = b"1 2 3"
        sha256 = hashlib.sha256(raw).hexdigest()
        self.client.link.request("PUT", f"{self.at}/blobs/{sha256}", raw, {**server.headers})
        self.client.link.getresponse().read()
        files = {"files": [{"path": "weights.txt", "sha256": sha256}]}
        self.client.send(("POST", f"{self.at}/runs/{self.run}/artifacts", files))

    def _wait_until_ready(self) -> None:
        while self.client.send(("GET", f"{self.at}/models/kept/versions/1", None))["status"] == "Pending":
            time.sleep(0.05)

    def create_model(self, number: int) -> tuple[str, str, Any]:
        return "POST", f"{self.at}/models", {"name": f"{self.stamp}-{number}"}

    def create_version(self, number: int, model: str = "counted") -> tuple[str, str, Any]:
        content = {"source_run_id": self.run, "artifact_path": "weights.txt"}
        return "POST", f"{self.at}/models/{model}/versions", content

    def transition(self, number: int) -> tuple[str, str, Any]:
        stages = ("Staging", "Production", "Archived", "None")
        version = 1 + number // len(stages) % 2
        path = f"{self.at}/models/moved-{number % 16}/versions/1/transition"
        return "POST", path, {"stage": stages[number // 16 % len(stages)], "note": str(version)}

    def prepare_transitions(self) -> None:
        for number in range(16):
            self.client.send(self.create_version(0, f"moved-{number}"))

    def set_alias(self, number: int) -> tuple[str, str, Any]:
        return "PUT", f"{self.at}/models/kept/aliases/a{number % 8}", {"version": 1 + number // 8 % 2}

    def set_tag(self, number: int) -> tuple[str, str, Any]:
        return "PUT", f"{self.at}/models/kept/versions/1/tags/k{number % 8}", {"value": str(number)}

    def get_model(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/models/kept", None

    def get_version(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/models/kept/versions/1", None

    def get_by_alias(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/models/kept/aliases/best", None

    def list_models(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/models?page_size=50", None

    def log_points(self, number: int) -> tuple[str, str, Any]:
        steps = list(range(number * POINTS, (number + 1) * POINTS))
        series = [{"key": "loss", "steps": steps, "values": [float(step) for step in steps]}]
        return "POST", f"{self.at}/runs/{self.run}/metrics", {"series": series}


class Theirs:
    """What MLflow is asked for the same."""

    def __init__(self, server: Server, stamp: str) -> None:
        self.at = "/api/2.0/mlflow"
        self.stamp = stamp
        self.client = Client(server.base, server.headers)
        made = self.client.send(("POST", f"{self.at}/experiments/create", {"name": stamp}))
        run = {"experiment_id": made["experiment_id"], "start_time": int(time.time() * 1000)}
        self.run = self.client.send(("POST", f"{self.at}/runs/create", run))["run"]["info"]["run_id"]
        for name in ("kept", "counted"):
            self.client.send(("POST", f"{self.at}/registered-models/create", {"name": name}))
        for number in range(2):
            self.client.send(self.create_version(number, "kept"))
        self.client.send(self.set_alias(0))

    def create_model(self, number: int) -> tuple[str, str, Any]:
        return "POST", f"{self.at}/registered-models/create", {"name": f"{self.stamp}-{number}"}

    def create_version(self, number: int, model: str = "counted") -> tuple[str, str, Any]:
        content = {"name": model, "source": f"runs:/{self.run}/model", "run_id": self.run}
        return "POST", f"{self.at}/model-versions/create", content

    def transition(self, number: int) -> tuple[str, str, Any]:
        stages = ("Staging", "Production", "Archived", "None")
        content = {
            "name": f"moved-{number % 16}",
            "version": "1",
            "stage": stages[number // 16 % len(stages)],
        }
        return "POST", f"{self.at}/model-versions/transition-stage", content

    def prepare_transitions(self) -> None:
        for number in range(16):
            self.client.send(("POST", f"{self.at}/registered-models/create", {"name": f"moved-{number}"}))
            self.client.send(self.create_version(0, f"moved-{number}"))

    def set_alias(self, number: int) -> tuple[str, str, Any]:
        content = {"name": "kept", "alias": f"a{number % 8}", "version": str(1 + number // 8 % 2)}
        return "POST", f"{self.at}/registered-models/alias", content

    def set_tag(self, number: int) -> tuple[str, str, Any]:
        content = {"name": "kept", "version": "1", "key": f"k{number % 8}", "value": str(number)}
        return "POST", f"{self.at}/model-versions/set-tag", content

    def get_model(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/registered-models/get?name=kept", None

    def get_version(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/model-versions/get?name=kept&version=1", None

    def get_by_alias(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/registered-models/alias?name=kept&alias={quote('a0')}", None

    def list_models(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/registered-models/search?max_results=50", None

    def log_points(self, number: int) -> tuple[str, str, Any]:
        now = int(time.time() * 1000)
        steps = range(number * POINTS, (number + 1) * POINTS)
        points = [{"key": "loss", "value": float(step), "timestamp": now, "step": step} for step in steps]
        return "POST", f"{self.at}/runs/log-batch", {"run_id": self.run, "metrics": points}


def pieces(ours: Ours, theirs: Theirs) -> list[Piece]:
    """The rows of the table with the aims of the project."""
    aims = {
        "create_model": 2.5,
        "create_version": 2.5,
        "transition": 2.5,
        "set_alias": 2.5,
        "set_tag": 2.5,
        "get_model": 4,
        "get_version": 4,
        "get_by_alias": 4,
        "list_models": 10,
        "log_points": 12,
    }
    return [Piece(name, aim, getattr(ours, name), getattr(theirs, name)) for name, aim in aims.items()]
