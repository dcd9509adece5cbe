"""A run that is being recorded: `with client.start_run(...) as run:`."""

from __future__ import annotations

import atexit
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from podstack.calls import version_ref
from podstack.errors import ConflictError, PodstackError, PodstackWarning, ValidationError
from podstack.files import LocalFile, as_path, files_below, files_to_log, sha256_of, upload
from podstack.models import Alert, Dataset, Run, RunInput
from podstack.outbox import RUN_ENDED, Outbox, Param, Point
from podstack.saving import figure_file, json_file, model_files, text_file
from podstack.values import mapping, number, scalar, step_number

if TYPE_CHECKING:
    from podstack.runs import RunCalls

PATIENCE_AT_END = 300.0
SHORT_PATIENCE = 10.0
ERROR_LENGTH = 4000


class ActiveRun:
    """Records what a training does; made by `MLOpsClient.start_run`.

    Parameters and metrics are sent in the background: a call takes microseconds and a server that is away is
    waited for. Tags, files and datasets are stored when their call returns. At the end of a `with` block
    everything is delivered and the run is Completed; Failed with the error when the block raised; Killed on
    Ctrl-C. Without `with`, call `end()`; a process that exits normally does so for you. A process that joined
    (`start_run(run_id=…, join=True)`) only delivers: the run's status is left to whoever began it.

    When somebody kills the run meanwhile, a warning says so as soon as values are refused, `status` is Killed,
    and the next call that logs raises ConflictError, which ends the training.
    """

    def __init__(self, calls: RunCalls, data: Run, joined: bool = False) -> None:
        self._calls = calls
        self._data = data
        self._path = calls.path("runs", data.id)
        self._outbox = Outbox(calls.http, self._path, on_end=self._learn_of_end)
        self._params = dict(data.params)
        self._next_step = {key: (row.last_step or 0) + 1 for key, row in data.metric_summary.items()}
        self._pid = os.getpid()
        self._ended = False
        self._joined = joined
        atexit.register(self._end_at_exit)

    @property
    def id(self) -> str:
        """The run's id, `run-…`."""
        return self._data.id

    @property
    def name(self) -> str:
        """The name that it was given; empty without one."""
        return self._data.name

    @property
    def status(self) -> str:
        """Running until the run has ended, then Completed, Failed or Killed."""
        return self._data.status

    @property
    def experiment_id(self) -> str:
        """The id of its experiment, `exp-…`."""
        return self._data.experiment_id

    @property
    def url(self) -> str:
        """The run's page in the portal."""
        return self._data.url

    @property
    def data(self) -> Run:
        """What the server last said of this run."""
        return self._data

    def __repr__(self) -> str:
        return f"ActiveRun(id={self.id!r}, status={self.status!r}, url={self.url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f'A run is not pickled: hand its id over, and join it there by start_run(run_id="{self.id}", join=True).'
        )

    def start_child(
        self,
        name: str | None = None,
        *,
        experiment_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        capture: bool = True,
    ) -> ActiveRun:
        """Starts a run that is part of this one, in the same experiment unless you name another.

        It is a run of its own: it ends by itself, and this one's end does not end it.
        """
        return self._calls.start_run(
            experiment_id or self.experiment_id,
            name=name,
            tags=tags,
            parent_run_id=self.id,
            capture=capture,
        )

    # Values

    def log_param(self, key: str, value: Any) -> None:
        """Records one parameter: a text, number or boolean; lists and dictionaries are stored as JSON text.

        ConflictError when this run has another value under this key already.
        """
        self.log_params({key: value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Records several parameters; see `log_param`."""
        self._check_running()
        new = {key: scalar(value) for key, value in mapping("params", params).items()}
        for key, value in new.items():
            _check_key("parameter", key)
            if key in self._params and self._params[key] != value:
                raise ConflictError(
                    f"The parameter {key} is {self._params[key]!r} and cannot become {value!r}.",
                    hint="A parameter is logged once; start another run, or use a metric for what changes.",
                    code="param_changed",
                )
        fresh = [Param(key, value) for key, value in new.items() if key not in self._params]
        self._params.update(new)
        self._outbox.put(fresh)

    def log_metric(self, key: str, value: Any, step: int | None = None) -> None:
        """Records one value of a metric at `step`, or at the step after its last; NaN and ±inf are values."""
        self.log_metrics({key: value}, step=step)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Records several metrics at one step; see `log_metric`."""
        self._check_running()
        now = time.time_ns() // 1_000_000
        values = {key: number(key, value) for key, value in mapping("metrics", metrics).items()}
        points = [Point(key, value, self._step(key, step), now) for key, value in values.items()]
        self._outbox.put(points)

    def _step(self, key: str, step: int | None) -> int:
        _check_key("metric", key)
        chosen = self._next_step.get(key, 0) if step is None else step_number(step)
        self._next_step[key] = chosen + 1
        return chosen

    def set_tag(self, key: str, value: Any) -> None:
        """Sets one tag; another value replaces it."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Sets several tags and keeps the others."""
        # These alone: others that log to the run may have set theirs anew.
        wanted = {key: str(value) for key, value in mapping("tags", tags).items()}
        self._data = self._calls.update_run(self.id, tags=wanted)

    # Files and data

    def log_artifact(self, local_path: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Stores a file under its own name, or a folder with all it holds.

        `artifact_path` is the folder to put it in: `log_artifact("out/model.pt")` stores model.pt, with
        `artifact_path="checkpoints"` checkpoints/model.pt.
        The same path logged again is replaced. Bytes that the server has are not sent.
        """
        self._upload(files_to_log(as_path("local_path", local_path), artifact_path), local_path)

    def log_artifacts(self, local_dir: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Stores all files below a folder at their relative paths, below `artifact_path` if given."""
        self._upload(files_below(as_path("local_dir", local_dir), artifact_path), local_dir)

    def log_text(self, text: str, path: str) -> None:
        """Stores a text as the file `path` of the run: `log_text(report, "report.md")`."""
        with text_file(text, path) as files:
            self._upload(files, path)

    def log_dict(self, value: Mapping[str, Any] | Sequence[Any], path: str) -> None:
        """Stores a dictionary or a list as the JSON file `path` of the run."""
        with json_file(value, path) as files:
            self._upload(files, path)

    def log_figure(self, figure: Any, path: str) -> None:
        """Stores a figure of matplotlib or plotly, or an image of PIL, in the format that `path` ends with."""
        with figure_file(figure, path) as files:
            self._upload(files, path)

    def log_model(self, model: Any, path: str = "model", *, input_example: Any = None) -> None:
        """Stores what scikit-learn, XGBoost or LightGBM trained below the folder `path` of the run.

        `create_model_version(name, run.id, path)` then makes a version of it. `input_example`: a few rows that its
        endpoint is tried with before it answers. ValidationError, which says how to save it, for any other model.
        """
        with model_files(model, path, input_example) as files:
            self._upload(files, path)

    def _upload(self, files: Sequence[LocalFile], origin: object) -> None:
        self._check_running()
        if not files:
            warnings.warn(f"{origin} holds no files; nothing was stored.", PodstackWarning, stacklevel=3)
        with self._noticing_an_end():
            upload(self._calls.http, self._calls.path(), self._path, files)

    def log_dataset(
        self, name: str, path: str | os.PathLike[str] | None = None, description: str = "", context: str = ""
    ) -> Dataset:
        """Records which data this run used, not the data itself.

        `path` may be a local file, whose sha256 is then recorded too, or any address. `context` says what
        for: "training", "validation".
        """
        local = as_path("path", path) if path else None
        digest = sha256_of(local)[0] if local is not None and local.is_file() else ""
        body = {
            "name": name,
            "path": "" if path is None else os.fspath(path),
            "description": description,
            "digest": digest,
            "context": context,
        }
        self._check_running()
        with self._noticing_an_end():
            answer = self._calls.http.call("POST", f"{self._path}/datasets", json=body)
        return Dataset.from_json({**body, **(answer or {})})

    def use_model(self, model_name: str, version: int | str = "latest") -> RunInput:
        """Records that this run starts from a version, by number or alias: "latest", 3, "champion".

        What it registers is then known to depend on that version. ConflictError where the version came from this run.
        """
        body = {"model_name": model_name, "version": str(version_ref(version))}
        self._check_running()
        with self._noticing_an_end():
            return RunInput.from_json(self._calls.http.call("POST", f"{self._path}/inputs", json=body))

    # Alerts

    def create_alert(self, condition: str, message: str = "") -> Alert:
        """Watches this run: `run.create_alert("val_loss > 2.0", message="It diverges.")`.

        See `MLOpsClient.create_run_alert`. The same alert again, while it waits, is not made twice.
        """
        self._check_running()
        with self._noticing_an_end():
            return self._calls.create_run_alert(self.id, condition, message)

    def list_alerts(self) -> list[Alert]:
        """This run's alerts; values that are still on their way to the server have not been looked at."""
        return self._calls.list_run_alerts(self.id)

    # The end

    def flush(self, timeout: float = PATIENCE_AT_END) -> None:
        """Returns when all values logged so far are stored.

        Raises what the server refused of them, or ConnectionFailed after `timeout` seconds without it.
        """
        self._outbox.flush(timeout)

    def end(self, status: str = "Completed", error: str = "") -> None:
        """Delivers what is queued and ends the run: Completed, Failed or Killed. A second call does nothing.

        When values were refused, the run ends Failed with that reason, which is then raised. When somebody
        else ended it, it stays as it is, and a warning says so.
        """
        if self._ended or self._pid != os.getpid():
            return
        patience = SHORT_PATIENCE if status == "Killed" else PATIENCE_AT_END
        if self._joined:
            self._leave(patience)
            return
        try:
            self.flush(patience)
        except PodstackError as problem:
            if self._ended:
                return
            with suppress(PodstackError):
                self._finish(
                    "Failed" if status == "Completed" else status, error or str(problem), SHORT_PATIENCE
                )
            raise
        self._finish(status, error, patience)

    def _leave(self, patience: float) -> None:
        """The end of a process that joined: its values are delivered, and the run goes on."""
        try:
            self.flush(patience)
        finally:
            self._ended = True
            atexit.unregister(self._end_at_exit)

    def _finish(self, status: str, error: str, patience: float) -> None:
        self._ended = True
        atexit.unregister(self._end_at_exit)
        body = {"status": status, "error": error}
        try:
            answer = self._calls.http.call("POST", f"{self._path}/end", json=body, patience=patience)
        except ConflictError as refusal:
            if refusal.code != RUN_ENDED:
                raise
            warnings.warn(self._learn_of_end(refusal).message, PodstackWarning, stacklevel=3)
        else:
            self._data = Run.from_json(answer) if answer else self._calls.get_run(self.id)

    def _learn_of_end(self, refusal: PodstackError) -> PodstackError:
        """Somebody else ended the run: from here on it is ended here, too. Answers the error to raise."""
        try:
            self._data = self._calls.get_run(self.id)
        except PodstackError:
            self._data = replace(self._data, status="Killed", error=refusal.message)
        self._ended = True
        atexit.unregister(self._end_at_exit)
        return self._has_ended()

    @contextmanager
    def _noticing_an_end(self) -> Iterator[None]:
        try:
            yield
        except ConflictError as refusal:
            if refusal.code != RUN_ENDED:
                raise
            raise self._learn_of_end(refusal) from refusal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_after(error)

    def _end_after(self, error: BaseException | None) -> None:
        status, text = ending(error)
        try:
            self.end(status, text)
        except PodstackError as problem:
            if error is None:
                raise
            # The block's own error is the one to see.
            warnings.warn(f"{self.id} could not be ended properly. {problem}", PodstackWarning, stacklevel=3)

    def _end_at_exit(self) -> None:
        try:
            self._end_after(getattr(sys, "last_value", None))
        except PodstackError as problem:
            print(f"podstack: {self.id} could not be ended properly. {problem}", file=sys.stderr)

    def _check_running(self) -> None:
        if self._ended:
            raise self._has_ended()

    def _has_ended(self) -> ConflictError:
        if self._joined and self.status == "Running":
            return ConflictError(
                f"This process has left {self.id}; it logs nothing to it any more.",
                hint=f'Join it again with start_run(run_id="{self.id}", join=True).',
                code=RUN_ENDED,
            )
        reason = f" ({self._data.error.rstrip('.')})" if self._data.error else ""
        return ConflictError(
            f"{self.id} has ended as {self.status}{reason}; nothing can be logged to it any more.",
            hint=f'Continue it with start_run(run_id="{self.id}").',
            code=RUN_ENDED,
        )


def _check_key(noun: str, key: str) -> None:
    if not key.strip():
        raise ValidationError(f"A {noun} needs a name; its key is {key!r}.")


def ending(error: BaseException | None) -> tuple[str, str]:
    """The status a run ends with after this error (None: none), and the error's text."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "Completed", ""
    text = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, KeyboardInterrupt):
        return "Killed", text
    return "Failed", text[:ERROR_LENGTH]
