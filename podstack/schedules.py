"""Calls on training code, schedules and their executions."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack, get_type_hints

from podstack.errors import PodstackError, ValidationError
from podstack.experiments import ExperimentCalls
from podstack.files import as_path, files_below, upload_bytes
from podstack.models import LogPiece, Schedule, ScheduleExecution, ScheduleTimes, TrainingCode
from podstack.waiting import settled

OPEN_STATES = ("Queued", "Running")
LEFT_OUT = frozenset(
    {"__pycache__", ".git", ".venv", "venv", "node_modules", ".ipynb_checkpoints", ".DS_Store"}
)
MOST_CONFIGURATION = 256 * 1024


class ScheduleSettings(TypedDict, total=False):
    """What a schedule may be told beside its cron expression, its time zone and its configuration."""

    code: int | None
    overlap: str
    catch_up: str
    starting_deadline: int | None
    timeout: int
    cpu_limit: int | None
    memory_limit: int | None
    file_size_limit: int | None
    max_attempts: int
    engine: str
    model_name: str
    artifact_path: str
    promote_metric: str
    promote_stage: str


class ScheduleChanges(ScheduleSettings, total=False):
    """What an edit of a schedule may change."""

    cron: str
    timezone: str
    configuration: Mapping[str, Any]


class ScheduleCalls(ExperimentCalls):
    """`name` is a schedule's name, `execution_id` an execution's id, `exec-…`."""

    # Training code

    def upload_training_code(
        self,
        experiment_id: str,
        folder: str | os.PathLike[str],
        command: Sequence[str],
        schema: Mapping[str, Any] | None = None,
    ) -> TrainingCode:
        """Gives an experiment the code that trains: all files of `folder`, and the command that runs in it.

        `command` is a list of words such as ["python", "train.py"]; no shell reads it. `schema` is a JSON Schema
        that configurations must fit. Bytes that the server has are not sent; nothing changed makes no new code.
        Caches, virtual environments and .git are left out.
        """
        words = _words(command)
        found = files_below(as_path("folder", folder), None)
        files = [file for file in found if not LEFT_OUT & set(file.path.split("/"))]
        if not files:
            raise ValidationError(f"{folder} holds no files that could train.")
        for file in files:
            if file.source.is_symlink():
                raise ValidationError(
                    f"{file.path} is a link; training code holds files only.",
                    hint="Put the file itself there.",
                )
        sent = upload_bytes(self.http, self.path(), files)
        files_sent = {file.path: file.sha256 for file in sent}
        return self._new_code(experiment_id, words, schema, files=files_sent)

    def fetch_training_code(
        self,
        experiment_id: str,
        git_url: str,
        git_commit: str,
        command: Sequence[str],
        git_path: str = "",
        schema: Mapping[str, Any] | None = None,
        timeout: float = 600,
    ) -> TrainingCode:
        """Gives an experiment the code in the folder `git_path` of a commit, which the server fetches; waits for it.

        `git_commit` is the commit's full id: a branch would be another code tomorrow. The server's operator says
        which addresses are allowed (TRAINING_GIT_URLS). PodstackError when it was not fetched, or not within
        `timeout` seconds.
        """
        where = {"git_url": git_url, "git_commit": git_commit, "git_path": git_path}
        code = self._new_code(experiment_id, _words(command), schema, **where)
        number = code.number
        code = settled(
            code,
            lambda: next(each for each in self.list_training_code(experiment_id) if each.number == number),
            lambda current: current.state != "Fetching",
            timeout,
        )
        if code.state == "Fetching":
            raise PodstackError(
                f"Training code {number} is still Fetching after {timeout:g} s.",
                hint="list_training_code tells what became of it.",
                code="training_code_timeout",
            )
        if code.state == "Failed":
            raise PodstackError(code.reason, code="training_code_failed")
        return code

    def _new_code(
        self, experiment_id: str, words: list[str], schema: Mapping[str, Any] | None, **given: Any
    ) -> TrainingCode:
        rules = {} if schema is None else {"schema": dict(schema)}
        path = self._experiment_path(experiment_id, "training-code")
        answer = self.http.call("POST", path, json={**given, "command": words, **rules})
        return TrainingCode.from_json(answer)

    def list_training_code(self, experiment_id: str) -> Iterator[TrainingCode]:
        """An experiment's training code, the newest first."""
        found = experiment_id
        if "/" in experiment_id:
            found = self.get_experiment(experiment_id).id
        return self.listed(TrainingCode.from_json, ("experiments", found, "training-code"))

    # Schedules

    def create_schedule(
        self,
        name: str,
        experiment_id: str,
        cron: str,
        timezone: str = "UTC",
        configuration: Mapping[str, Any] | None = None,
        **settings: Unpack[ScheduleSettings],
    ) -> Schedule:
        """**Create Schedule**: the experiment's training code at each moment of a five-field cron expression.

        `timezone` is an IANA name, `configuration` what the program finds as JSON at PODSTACK_CONFIGURATION.
        settings: code (number; the newest when left out), overlap ("skip", "queue", "replace"), catch_up ("none",
        "last"), starting_deadline, timeout and cpu_limit (seconds), memory_limit and file_size_limit (MiB),
        max_attempts, engine ("local", "ray", "" as the server's settings say), model_name with artifact_path
        (register what comes out), promote_stage with promote_metric (only if it is better) or without (only if the
        checks of the model's policy hold).
        """
        body = {
            "name": name,
            "experiment_id": experiment_id,
            "cron": cron,
            "timezone": timezone,
            "configuration": _configuration({} if configuration is None else configuration),
            **_known(settings, ScheduleSettings),
        }
        return Schedule.from_json(self.http.call("POST", self.path("schedules"), json=body))

    def get_schedule(self, name: str) -> Schedule:
        """One schedule, with its next times."""
        return Schedule.from_json(self.http.call("GET", self.path("schedules", name)))

    def list_schedules(
        self,
        search: str | None = None,
        experiment_id: str | None = None,
        paused: bool | None = None,
        deleted: bool | None = None,
    ) -> Iterator[Schedule]:
        """The project's schedules by name, or those of one experiment, paused or not.

        deleted=True gives those that were deleted; `list_deleted_schedule_executions` tells what one of them did.
        """
        return self.listed(
            Schedule.from_json,
            ("schedules",),
            search=search,
            experiment=experiment_id,
            paused=paused,
            deleted=deleted,
        )

    def update_schedule(self, name: str, **settings: Unpack[ScheduleChanges]) -> Schedule:
        """Changes what is given, with the words of `create_schedule`; None empties what may be empty.

        An edit never starts anything by itself.
        """
        changes = _known(settings, ScheduleChanges)
        if "configuration" in changes:
            changes["configuration"] = _configuration(changes["configuration"])
        return Schedule.from_json(self.http.call("PATCH", self.path("schedules", name), json=changes))

    def pause_schedule(self, name: str) -> Schedule:
        """Nothing starts by its cron expression from now on; what runs goes on."""
        return Schedule.from_json(self.http.call("POST", self.path("schedules", name, "pause"), json={}))

    def resume_schedule(self, name: str) -> Schedule:
        """Goes on with the next moment from now."""
        return Schedule.from_json(self.http.call("POST", self.path("schedules", name, "resume"), json={}))

    def delete_schedule(self, name: str) -> None:
        """Removes it and stops what it runs; its executions stay readable."""
        self.http.call("DELETE", self.path("schedules", name))

    def get_schedule_times(self, cron: str, timezone: str = "UTC") -> ScheduleTimes:
        """What a cron expression says, in words, and its next five times."""
        path = self.path("schedule-times")
        asked = [("cron", cron), ("timezone", timezone)]
        return ScheduleTimes.from_json(self.http.call("GET", path, params=asked))

    # Executions

    def trigger_schedule(
        self, name: str, configuration: Mapping[str, Any] | None = None
    ) -> ScheduleExecution:
        """**Run now**; `configuration` is for this time only. `wait_for_execution` waits for its end."""
        body = {} if configuration is None else {"configuration": _configuration(configuration)}
        path = self.path("schedules", name, "trigger")
        return ScheduleExecution.from_json(self.http.call("POST", path, json=body))

    def list_schedule_executions(self, name: str, state: str | None = None) -> Iterator[ScheduleExecution]:
        """What became of each moment of a schedule, the newest first.

        Where none has the name, those of the one that was deleted last.
        """
        return self.listed(ScheduleExecution.from_json, ("schedules", name, "executions"), state=state)

    def list_deleted_schedule_executions(
        self, schedule_id: int, state: str | None = None
    ) -> Iterator[ScheduleExecution]:
        """The same of a schedule that was deleted, by its `id`: whatever has its name now."""
        path = ("deleted-schedules", str(schedule_id), "executions")
        return self.listed(ScheduleExecution.from_json, path, state=state)

    def get_schedule_execution(self, execution_id: str) -> ScheduleExecution:
        """One execution as it is now."""
        return ScheduleExecution.from_json(self.http.call("GET", self.path("executions", execution_id)))

    def stop_schedule_execution(self, execution_id: str) -> ScheduleExecution:
        """Ends its processes within seconds; a waiting one never starts."""
        path = self.path("executions", execution_id, "stop")
        return ScheduleExecution.from_json(self.http.call("POST", path, json={}))

    def read_execution_log(self, execution_id: str, offset: int = 0) -> LogPiece:
        """What the program wrote from `offset` (bytes) on, also while it runs."""
        path = self.path("executions", execution_id, "log")
        return LogPiece.from_json(self.http.call("GET", path, params=[("offset", str(offset))]))

    def wait_for_execution(
        self,
        execution_id: str,
        timeout: float = 3600,
        on_log: Callable[[str], object] | None = None,
    ) -> ScheduleExecution:
        """Returns the execution once it has ended, however it did; `on_log` gets what is written meanwhile.

        PodstackError after `timeout` seconds; the execution goes on.
        """
        offset = 0

        def look() -> ScheduleExecution:
            nonlocal offset
            current = self.get_schedule_execution(execution_id)
            if on_log is not None:
                offset = self._hand_on_log(execution_id, offset, on_log)
            return current

        ended = settled(look(), look, lambda current: current.state not in OPEN_STATES, timeout)
        if ended.state in OPEN_STATES:
            raise PodstackError(
                f"{execution_id} is still {ended.state} after {timeout:g} s.",
                hint="Wait again, or stop it.",
                code="execution_timeout",
            )
        return ended

    def _hand_on_log(self, execution_id: str, offset: int, on_log: Callable[[str], object]) -> int:
        while True:
            piece = self.read_execution_log(execution_id, offset)
            if not piece.text:
                return offset
            on_log(piece.text)
            offset = piece.next_offset


def _known(settings: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The settings as they are; ValidationError for a word that none of them has: it would change nothing."""
    known = get_type_hints(kind)
    for name in settings:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise ValidationError(
                f"{name} is no setting of a schedule; there are {', '.join(sorted(known))}.",
                hint=f"Did you mean {close[0]}?" if close else "",
            )
    return dict(settings)


def _foreign(value: Any) -> Any:
    """A scalar or an array of numpy, as JSON's own types."""
    for method in ("tolist", "item"):
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _configuration(value: object) -> dict[str, Any]:
    """A configuration that JSON can say; ValidationError before anything is sent."""
    if not isinstance(value, Mapping):
        raise ValidationError(
            f"configuration is {type(value).__name__}; it must be a mapping such as {{'epochs': 3}}."
        )
    try:
        written = json.dumps(dict(value), allow_nan=False, default=_foreign)
    except RecursionError:
        raise ValidationError("configuration is nested too deeply.") from None
    except (TypeError, ValueError) as error:
        raise ValidationError(f"configuration is no JSON: {error}.") from None
    if len(written) > MOST_CONFIGURATION:
        raise ValidationError(
            f"configuration has {len(written)} bytes as JSON; at most {MOST_CONFIGURATION} are allowed."
        )
    found: dict[str, Any] = json.loads(written)
    return found


def _words(command: Sequence[str]) -> list[str]:
    if isinstance(command, str):
        raise ValidationError(
            f"command is the text {command!r}; it must be a list of words.",
            hint=f"Write {command.split()!r}.",
        )
    return list(command)
