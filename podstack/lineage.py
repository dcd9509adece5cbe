"""Calls about where things came from and what depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstack.calls import Calls, given, version_ref
from podstack.errors import ValidationError
from podstack.models import Dataset, Impact, Lineage, Quarantine, Recipe, RunInput, ScheduleExecution


def node_of(model_name: str | None, version: int | str | None, node: str | None) -> str:
    """How the server is asked for a model, a version of it, or what `node` names."""
    if (node is None) == (model_name is None):
        raise ValidationError("Say either a model's name (and a version), or node='dataset:12'.")
    if node is not None:
        return node
    if version is None:
        return f"model:{model_name}"
    version = version_ref(version)
    is_number = str(version).removeprefix("v").isdecimal() or version == "latest"
    return f"version:{model_name}{'/' if is_number else '@'}{version}"


class LineageCalls(Calls):
    """`node` is version:NAME/3, version:NAME@alias, model:NAME, run:ID, experiment:ID, dataset:NUMBER, endpoint:NAME,
    revision:NAME/2, alias:NAME@alias, execution:ID or code:EXPERIMENT/1.
    """

    def get_lineage(
        self,
        model_name: str | None = None,
        version: int | str | None = None,
        *,
        node: str | None = None,
        direction: str = "both",
        depth: int = 10,
        nodes: int = 500,
    ) -> Lineage:
        """What led to a thing ("upstream") and what came of it ("downstream"), `depth` edges far.

        Edges go from the cause to what came of it. `truncated` says that more is connected than the limits let in.
        """
        params = self._limits(node_of(model_name, version, node), direction, depth, nodes)
        return Lineage.from_json(self.http.call("GET", self.path("lineage"), params=params))

    def get_lineage_events(
        self,
        model_name: str | None = None,
        version: int | str | None = None,
        *,
        node: str | None = None,
        direction: str = "both",
        depth: int = 10,
    ) -> list[Mapping[str, Any]]:
        """The runs of the same graph as OpenLineage run events."""
        params = self._limits(node_of(model_name, version, node), direction, depth, 2000)
        return list(self.http.call("GET", self.path("lineage", "events"), params=params)["events"])

    def get_impact(
        self, model_name: str | None = None, version: int | str | None = None, *, node: str | None = None
    ) -> Impact:
        """Everything that depends on a thing: versions, aliases, live endpoints and their owners."""
        params = [("node", node_of(model_name, version, node))]
        return Impact.from_json(self.http.call("GET", self.path("impact"), params=params))

    def notify_owners(self, node: str, message: str) -> list[str]:
        """Tells everybody who owns what depends on it, by inbox and e-mail; returns their names. For maintainers."""
        body = {"node": node, "message": message}
        return list(self.http.call("POST", self.path("impact", "notify"), json=body)["notified"])

    def quarantine_impact(self, node: str, reason: str, endpoints: str | None = None) -> Quarantine:
        """Quarantines every Ready version that depends on it: none is promoted or newly deployed. For maintainers.

        Where endpoints serve one, say whether they go on (`endpoints="keep"`) or are taken down ("undeploy").
        """
        body = {"node": node, "reason": reason, **given(endpoints=endpoints)}
        return Quarantine.from_json(self.http.call("POST", self.path("impact", "quarantine"), json=body))

    def release_impact(self, node: str) -> Quarantine:
        """Releases what `quarantine_impact` of the same node had quarantined."""
        answer = self.http.call("POST", self.path("impact", "release"), json={"node": node})
        return Quarantine.from_json(answer)

    # Datasets

    def list_datasets(self, search: str | None = None, bad: bool | None = None) -> Iterator[Dataset]:
        """The project's datasets by name; `bad` leaves those that are marked, or the others."""
        asked = None if bad is None else str(bad).lower()
        return self.listed(Dataset.from_json, ("datasets",), search=search, bad=asked)

    def get_dataset(self, dataset_id: int) -> Dataset:
        """One dataset, by its number."""
        return Dataset.from_json(self.http.call("GET", self.path("datasets", dataset_id)))

    def mark_dataset(self, dataset_id: int, reason: str) -> Dataset:
        """Says that a dataset is bad, and why. For maintainers."""
        path = self.path("datasets", dataset_id, "mark")
        return Dataset.from_json(self.http.call("POST", path, json={"reason": reason}))

    def clear_dataset(self, dataset_id: int) -> Dataset:
        """Takes the mark away."""
        return Dataset.from_json(self.http.call("POST", self.path("datasets", dataset_id, "clear")))

    # Making things again

    def list_run_inputs(self, run_id: str) -> Iterator[RunInput]:
        """The versions that a run started from."""
        return self.listed(RunInput.from_json, ("runs", run_id, "inputs"))

    def get_recipe(self, model_name: str, version: int | str) -> Recipe:
        """What is needed to make a version again: code, command, parameters, data, environment."""
        path = self.path("models", model_name, "versions", version_ref(version), "recipe")
        return Recipe.from_json(self.http.call("GET", path))

    def run_again(self, run_id: str, configuration: Mapping[str, Any] | None = None) -> ScheduleExecution:
        """Starts the training of a run once more, with the same code; the new run has the tag `again_of`.

        `wait_for_execution` waits for its end. ConflictError where the run's training code is not kept here.
        """
        body = {} if configuration is None else {"configuration": dict(configuration)}
        return ScheduleExecution.from_json(
            self.http.call("POST", self.path("runs", run_id, "again"), json=body)
        )

    def _limits(self, node: str, direction: str, depth: int, nodes: int) -> list[tuple[str, str]]:
        return [("node", node), ("direction", direction), ("depth", str(depth)), ("nodes", str(nodes))]
