"""Calls on experiments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from podstack.calls import Calls, given
from podstack.errors import NotFoundError
from podstack.models import Experiment
from podstack.values import texts


class ExperimentCalls(Calls):
    """`experiment_id` is an id, `exp-…`, or a name."""

    def create_experiment(self, name: str, description: str = "", tags: Iterable[str] = ()) -> Experiment:
        """A new experiment; ConflictError when the name is taken."""
        body = {"name": name, "description": description, "tags": texts("tags", tags)}
        return Experiment.from_json(self.http.call("POST", self.path("experiments"), json=body))

    def get_experiment(self, experiment_id: str) -> Experiment:
        """One experiment, NotFoundError without it."""
        return Experiment.from_json(self.http.call("GET", self._experiment_path(experiment_id)))

    def _experiment_path(self, experiment_id: str, *more: object) -> str:
        """The API path of an experiment. No URL carries a name with a "/": it is looked up among all."""
        if "/" not in str(experiment_id):
            return self.path("experiments", experiment_id, *more)
        for each in self.list_experiments(search=experiment_id):
            if each.name == experiment_id:
                return self.path("experiments", each.id, *more)
        raise NotFoundError(
            f"There is no experiment {experiment_id!r} in {self.project}.", hint="Check its id or name."
        )

    def list_experiments(
        self, search: str | None = None, archived: bool | None = None, order_by: str | None = None
    ) -> Iterator[Experiment]:
        """The project's experiments; `archived` True gives only archived ones, False only the others."""
        return self.listed(
            Experiment.from_json, ("experiments",), search=search, archived=archived, ordering=order_by
        )

    def update_experiment(
        self,
        experiment_id: str,
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
    ) -> Experiment:
        """Changes what is given and leaves the rest."""
        body = given(name=name, description=description, tags=None if tags is None else texts("tags", tags))
        return Experiment.from_json(self.http.call("PATCH", self._experiment_path(experiment_id), json=body))

    def archive_experiment(self, experiment_id: str) -> Experiment:
        """Hides an experiment from lists; its runs stay."""
        return self._experiment_verb(experiment_id, "archive")

    def restore_experiment(self, experiment_id: str) -> Experiment:
        """Shows an archived experiment again."""
        return self._experiment_verb(experiment_id, "restore")

    def _experiment_verb(self, experiment_id: str, verb: str) -> Experiment:
        answer = self.http.call("POST", self._experiment_path(experiment_id, verb))
        return Experiment.from_json(answer) if answer else self.get_experiment(experiment_id)
