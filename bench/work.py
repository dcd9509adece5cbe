"""The same pieces of work, said to each server in its own words. Each maker gets a number it gets only once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from bench.load import Client, Make
from bench.seed import SMALL_TAGS, TAGS, word
from bench.servers import Server

POINTS = 1000
HISTORY = 10_000
MOVED = 256
STAGES = ("None", "Staging", "Production", "Archived")


@dataclass(frozen=True)
class Piece:
    """One row of the table: what is done, and how often we mean to beat the other server."""

    name: str
    aim: float | None
    ours: Make
    theirs: Make | None  # None: the other server cannot, or it is asked of ours alone


class Moves:
    """Stages in turn for each of many models, so that no move asks for the stage that is there."""

    def __init__(self) -> None:
        self.turns = [0] * MOVED

    def next(self, number: int) -> tuple[str, str]:
        """A model's name and the stage that it goes to now."""
        place = number % MOVED
        self.turns[place] += 1
        return f"moved-{place}", STAGES[self.turns[place] % len(STAGES)]


class Ours:
    """What this platform is asked."""

    def __init__(self, server: Server, stamp: str) -> None:
        self.at = "/api/v1/projects/default"
        self.stamp, self.moves = stamp, Moves()
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
        model, stage = self.moves.next(number)
        return "POST", f"{self.at}/models/{model}/versions/1/transition", {"stage": stage, "note": "bench"}

    def prepare_transitions(self) -> None:
        for number in range(MOVED):
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

    def list_models(self, number: int, project: str = "default") -> tuple[str, str, Any]:
        return "GET", f"/api/v1/projects/{project}/models?page_size=50", None

    def list_models_anew(self, number: int) -> tuple[str, str, Any]:
        """The same 50 models by a question that was never asked before: none that the server keeps can answer it."""
        before = f"2999-01-01T00:00:00.{number % 1_000_000:06}Z"
        return "GET", f"{self.at}/models?page_size=50&updated_before={before}", None

    def search_text(self, number: int, project: str = "default") -> tuple[str, str, Any]:
        return "GET", f"/api/v1/projects/{project}/models?page_size=50&search={word(number)}", None

    def filter_tag(self, number: int, project: str = "default") -> tuple[str, str, Any]:
        return "GET", f"/api/v1/projects/{project}/models?page_size=50&tag=tag{number % SMALL_TAGS}", None

    def filter_stage(self, number: int, project: str = "default") -> tuple[str, str, Any]:
        return "GET", f"/api/v1/projects/{project}/models?page_size=50&stage=Production", None

    def get_long_model(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/models/long", None

    def list_long_versions(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/models/long/versions?page_size=50", None

    def log_points(self, number: int, keys: int = 1, points: int = POINTS) -> tuple[str, str, Any]:
        each = points // keys
        steps = list(range(number * each, (number + 1) * each))
        values = [float(step) for step in steps]
        series = [{"key": f"loss{key}", "steps": steps, "values": values} for key in range(keys)]
        return "POST", f"{self.at}/runs/{self.run}/metrics", {"series": series}

    def prepare_history(self) -> None:
        for number in range(HISTORY // POINTS):
            steps = list(range(number * POINTS, (number + 1) * POINTS))
            series = [{"key": "history", "steps": steps, "values": [float(step) for step in steps]}]
            self.client.send(("POST", f"{self.at}/runs/{self.run}/metrics", {"series": series}))

    def read_history(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/runs/{self.run}/metrics/history", None


class Theirs:
    """What MLflow is asked for the same."""

    def __init__(self, server: Server, stamp: str) -> None:
        self.at = "/api/2.0/mlflow"
        self.stamp, self.moves = stamp, Moves()
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
        model, stage = self.moves.next(number)
        content = {"name": model, "version": "1", "stage": stage}
        return "POST", f"{self.at}/model-versions/transition-stage", content

    def prepare_transitions(self) -> None:
        for number in range(MOVED):
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

    def search_text(self, number: int) -> tuple[str, str, Any]:
        return "GET", self._searched(f"name ILIKE '%{word(number)}%'"), None

    def filter_tag(self, number: int) -> tuple[str, str, Any]:
        return "GET", self._searched(f"tags.team = 'tag{number % TAGS}'"), None

    def _searched(self, text: str) -> str:
        return f"{self.at}/registered-models/search?max_results=50&filter={quote(text)}"

    def get_long_model(self, number: int) -> tuple[str, str, Any]:
        return "GET", f"{self.at}/registered-models/get?name=long", None

    def list_long_versions(self, number: int) -> tuple[str, str, Any]:
        filtered = quote("name = 'long'")
        return "GET", f"{self.at}/model-versions/search?max_results=50&filter={filtered}", None

    def log_points(self, number: int, keys: int = 1, points: int = POINTS) -> tuple[str, str, Any]:
        now, each = int(time.time() * 1000), points // keys
        found = [
            {"key": f"loss{key}", "value": float(step), "timestamp": now, "step": step}
            for key in range(keys)
            for step in range(number * each, (number + 1) * each)
        ]
        return "POST", f"{self.at}/runs/log-batch", {"run_id": self.run, "metrics": found}

    def prepare_history(self) -> None:
        for number in range(HISTORY // POINTS):
            now = int(time.time() * 1000)
            steps = range(number * POINTS, (number + 1) * POINTS)
            points = [{"key": "history", "value": float(s), "timestamp": now, "step": s} for s in steps]
            self.client.send(("POST", f"{self.at}/runs/log-batch", {"run_id": self.run, "metrics": points}))

    def read_history(self, number: int) -> tuple[str, str, Any]:
        found = f"run_id={self.run}&metric_key=history&max_results={HISTORY}"
        return "GET", f"{self.at}/metrics/get-history?{found}", None


def pieces(ours: Ours, theirs: Theirs | None) -> list[Piece]:
    """The rows of closed loops with the aims of the project."""
    plain = {
        **dict.fromkeys(("create_model", "create_version", "transition", "set_alias", "set_tag"), 2.5),
        **dict.fromkeys(("get_model", "get_version", "get_by_alias"), 4),
        **dict.fromkeys(("list_models", "search_text", "filter_tag"), 10),
        **dict.fromkeys(("get_long_model", "list_long_versions", "read_history"), 20),
    }
    found = [
        Piece(name, aim, getattr(ours, name), getattr(theirs, name, None)) for name, aim in plain.items()
    ]
    found.append(Piece("filter_stage", None, ours.filter_stage, None))
    listed = theirs.list_models if theirs else None
    found.append(Piece("list_models_anew", None, ours.list_models_anew, listed))
    for name in ("list_models", "search_text", "filter_tag", "filter_stage"):
        found.append(Piece(f"{name}_of_1000", None, partial(getattr(ours, name), project="small"), None))
    for keys in (1, 10, 1000):
        logs = [partial(each.log_points, keys=keys) for each in (ours, theirs) if each]
        found.append(Piece(f"log_points_{keys}_keys", 12, logs[0], logs[1] if theirs else None))
    return found
