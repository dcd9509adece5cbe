"""Calls on runs; what happens while one is being recorded is in `podstack.run`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from podstack.calls import Calls, given
from podstack.environment import environment, wanted
from podstack.errors import ConflictError, NotFoundError, ValidationError
from podstack.files import chosen, download
from podstack.files.fetching import LISTED
from podstack.models import Alert, ArtifactFile, Run
from podstack.outbox import RUN_ENDED
from podstack.run import ActiveRun
from podstack.values import mapping


class RunCalls(Calls):
    """`run_id` is a run's id, `run-…`."""

    def start_run(
        self,
        experiment_id: str | None = None,
        *,
        run_id: str | None = None,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        parent_run_id: str | None = None,
        code_version: str | None = None,
        capture: bool = True,
        join: bool = False,
    ) -> ActiveRun:
        """Starts recording a run; use it as `with client.start_run("sentiment") as run:`.

        `experiment_id` is an id or a name; a new name makes the experiment. `run_id` of an existing run
        continues it; of none, the new run gets it (`run-` and 6 to 32 lower-case letters and digits). Where
        PODSTACK_RUN_ID is set, the process's first run continues that one. `parent_run_id` makes it part of
        another run of the project; see `ActiveRun.start_child`. With join=True a Running run is logged to beside
        the process that began it, a rank of a distributed training for example: its end here ends nothing.

        The system, the versions of well-known packages and the Git commit of the running script are recorded
        with a new run (`run.data.environment`), and the commit is its `code_version` unless you give another;
        not with capture=False or PODSTACK_CAPTURE=0.
        """
        continued = run_id or os.environ.pop("PODSTACK_RUN_ID", None)
        if join:
            return self._join(continued)
        experiment = (self._experiment_of(continued) if continued else None) or experiment_id
        if not experiment:
            raise ValidationError(
                f"There is no run {continued}." if continued else "A run needs an experiment.",
                hint="Give experiment_id: an experiment's id or name; a new name makes the experiment.",
            )
        seen = environment() if wanted(capture) else None
        commit = (seen or {}).get("git", {}).get("commit")
        body = given(
            experiment_id=experiment,
            id=continued,
            name=name,
            tags=None if tags is None else {k: str(value) for k, value in mapping("tags", tags).items()},
            parent_run_id=parent_run_id,
            code_version=commit if code_version is None else code_version,
            environment=seen,
        )
        return ActiveRun(self, Run.from_json(self.http.call("POST", self.path("runs"), json=body)))

    def _join(self, run_id: str | None) -> ActiveRun:
        if not run_id:
            raise ValidationError("join=True needs a run_id.", hint="Hand the id of the run to each process.")
        run = self.get_run(run_id)
        if run.status != "Running":
            raise ConflictError(
                f"{run.id} is {run.status}; only a Running run is joined.",
                hint="Leave join out to continue it.",
                code=RUN_ENDED,
            )
        return ActiveRun(self, run, joined=True)

    def _experiment_of(self, run_id: str) -> str | None:
        try:
            return self.get_run(run_id).experiment_id
        except NotFoundError:
            return None

    def get_run(self, run_id: str) -> Run:
        """One run with its parameters, last metrics, tags and datasets."""
        return Run.from_json(self.http.call("GET", self.path("runs", run_id)))

    def list_runs(
        self,
        experiment_id: str | None = None,
        status: str | None = None,
        search: str | None = None,
        order_by: str | None = None,
        parent_run_id: str | None = None,
        deleted: bool | None = None,
    ) -> Iterator[Run]:
        """The project's, one experiment's or one parent's runs, the latest first unless `order_by` says otherwise.

        deleted=True gives those that `restore_run` can bring back; only maintainers see them.
        """
        return self.listed(
            Run.from_json,
            ("runs",),
            experiment=experiment_id,
            status=status,
            search=search,
            ordering=order_by,
            parent=parent_run_id,
            deleted=deleted,
        )

    def search_runs(
        self, filter: str | None = None, experiment_id: str | None = None, order_by: str | None = None
    ) -> Iterator[Run]:
        """Runs that an expression of the filter language describes, in one experiment or in all.

        `search_runs("metrics.loss < 0.4 and params.optimizer = 'adamw'", order_by="metrics.loss")`. `order_by` names
        a column or metrics.<key>, min.<key>, max.<key>, params.<key>, with - the other way. ValidationError pointing
        at the character where the expression is wrong.
        """
        return self.listed(
            Run.from_json, ("runs",), filter=filter, experiment=experiment_id, ordering=order_by
        )

    def update_run(
        self,
        run_id: str,
        name: str | None = None,
        notes: str | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> Run:
        """Changes what is given and leaves the rest; a tag with the value None is removed."""
        body = given(name=name, notes=notes, tags=None if tags is None else dict(tags))
        return Run.from_json(self.http.call("PATCH", self.path("runs", run_id), json=body))

    def kill_run(self, run_id: str, reason: str = "") -> Run:
        """Ends a running run, anybody's, as Killed; the process that records it learns it with its next values.

        ConflictError when the run has ended otherwise.
        """
        answer = self.http.call("POST", self.path("runs", run_id, "kill"), json={"reason": reason})
        return Run.from_json(answer)

    def create_run_alert(self, run_id: str, condition: str, message: str = "") -> Alert:
        """Watches a running run: `condition` is a metric's key, one of < <= > >= == != and a number.

        `create_run_alert(run_id, "val_loss > 2.0", message="It diverges.")`; a key with spaces stands in
        `backticks`. The alert fires once, by the first value logged from now on that meets the condition.
        """
        body = {"condition": condition, "message": message}
        return Alert.from_json(self.http.call("POST", self.path("runs", run_id, "alerts"), json=body))

    def list_run_alerts(self, run_id: str) -> list[Alert]:
        """A run's alerts, in the order they were made, fired or not."""
        return list(self.listed(Alert.from_json, ("runs", run_id, "alerts")))

    def delete_run_alert(self, run_id: str, alert_id: str) -> None:
        """Takes an alert away; NotFoundError without it."""
        self.http.call("DELETE", self.path("runs", run_id, "alerts", alert_id))

    def delete_run(self, run_id: str) -> None:
        """Deletes a run; versions registered from it keep their files."""
        self.http.call("DELETE", self.path("runs", run_id))

    def restore_run(self, run_id: str) -> Run:
        """Brings a deleted run back with everything; maintainers can, for as long as it lies in the trash."""
        return Run.from_json(self.http.call("POST", self.path("runs", run_id, "restore"), json={}))

    def list_artifacts(self, run_id: str, path: str = "") -> list[ArtifactFile]:
        """The files that a run stored, or those at and below `path`."""
        asked = {"path": path or None, "page_size": LISTED}
        listed = self.http.pages(self.path("runs", run_id, "artifacts"), asked)
        return [ArtifactFile.from_json(item) for item in listed]

    def download_artifacts(
        self,
        run_id: str,
        destination: str | os.PathLike[str] = ".",
        path: str | Iterable[str] = "",
    ) -> Path:
        """Writes a run's files to their paths below `destination`; returns that.

        `path` chooses some: a file, a folder or a pattern such as "*.onnx" or "config/**/*.json", or several of
        them, where * and ? stay within one name and ** is any number of folders. NotFoundError for what fits
        nothing. Each file arrives whole and with the right sha256, or not at all; one that is there is skipped, one
        that was begun continued.
        """
        files = self.list_artifacts(run_id)
        if not files:
            raise NotFoundError(f"{run_id} has no files.")
        if path:
            files = chosen(files, path)
        return download(self.http, self.path("runs", run_id, "artifacts"), files, Path(destination))
