"""Verbs on training code: files that were uploaded, or the folder of a commit that a worker fetches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require, system_actor
from artifacts.paths import check_path
from artifacts.services import (
    check_digest,
    check_no_file_is_a_folder,
    claim_blobs,
    make_manifest,
    store_stream,
)
from common.checks import check_pattern, check_text, shorten
from common.errors import Busy, Conflict, DomainError, Invalid
from common.jobs import enqueue
from scheduling.choices import CodeState
from scheduling.configuration import check_schema
from scheduling.git import MOST_FILES, GitError, Repository, fetched
from scheduling.models import Schedule, TrainingCode
from tracking.models import Experiment
from tracking.queries import find_experiment

MOST_CODE = 1 << 30  # bytes
MOST_WORDS, LONGEST_WORD = 100, 4000
LONGEST_URL = 500
LONGEST_PATH = 1000
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Enough for every kind of address; what begins with - would be an option, and .. would leave what was allowed.
GIT_URL = re.compile(r"[a-z]+://[A-Za-z0-9._~%+@:\[\]-]*(/[A-Za-z0-9._~%+-]+)+/?")


def upload_training_code(
    *,
    actor: Actor,
    project: Project,
    experiment_id: str,
    files: Mapping[str, str],
    command: Sequence[str],
    schema: Mapping[str, Any] | None = None,
) -> TrainingCode:
    """The experiment's next training code: path -> sha256 of bytes that were uploaded before, and the command.

    The same files, command and schema as the newest make no new one. `schema` is a JSON Schema that
    configurations must fit.
    """
    require(actor, project, Right.WRITE)
    experiment = find_experiment(project, experiment_id)
    wanted = _check_files(files)
    words = _check_command(command)
    rules = _check_schema(schema)
    with transaction.atomic():
        _lock_experiment(experiment)
        blobs = claim_blobs(project, set(wanted.values()))
        lacking = sorted({digest for digest in wanted.values() if digest not in blobs})
        if lacking:
            raise Conflict(
                f"The bytes of {len(lacking)} of these files are not on the server.",
                "Upload them first.",
                code="blob_missing",
                items=lacking[:100],
            )
        size = sum(blobs[digest].size for digest in wanted.values())
        if size > MOST_CODE:
            raise Invalid.field("files", f"files has {size} bytes together; at most {MOST_CODE} are allowed.")
        manifest = make_manifest({path: blobs[digest] for path, digest in wanted.items()})
        given = {"manifest": manifest, "git_url": "", "command": words, "schema": rules}
        code, is_new = _newest_or_next(actor, experiment, given)
        if is_new:
            after = {"number": code.number, "command": words, "manifest": manifest.digest}
            _record(actor, "upload_training_code", experiment, after)
    return code


def fetch_training_code(
    *,
    actor: Actor,
    project: Project,
    experiment_id: str,
    git_url: str,
    git_commit: str,
    command: Sequence[str],
    git_path: str = "",
    schema: Mapping[str, Any] | None = None,
) -> TrainingCode:
    """The experiment's next training code: the folder `git_path` of a commit (its full id) that a worker fetches now.

    It is Fetching, then Ready or Failed with a reason. Only addresses that begin as TRAINING_GIT_URLS says are
    allowed. The same as the newest makes no new one, unless that one Failed.
    """
    require(actor, project, Right.WRITE)
    experiment = find_experiment(project, experiment_id)
    given = {
        "git_url": check_git_url(git_url),
        "git_commit": check_pattern(
            "git_commit", git_commit, COMMIT, "the full id of a commit, 40 or 64 of 0-9a-f", max_length=64
        ),
        "git_path": git_path
        and check_path("git_path", check_text("git_path", git_path, max_length=LONGEST_PATH)),
        "command": _check_command(command),
        "schema": _check_schema(schema),
    }
    with transaction.atomic():
        _lock_experiment(experiment)
        code, is_new = _newest_or_next(actor, experiment, given, state=CodeState.FETCHING)
        if is_new:
            enqueue("scheduling.fetch_code", key=f"code:{code.pk}", code_id=code.pk)
            _record(actor, "fetch_training_code", experiment, {"number": code.number, **given})
    return code


def fetch_code(code_id: int) -> None:
    """What the worker does for training code that is Fetching: its files into the store, or the reason why not."""
    code = TrainingCode.objects.select_related("experiment__project").get(pk=code_id)
    if code.state != CodeState.FETCHING:
        return
    try:
        check_git_url(code.git_url)
        with fetched(code.git_url, code.git_commit, settings.TRAINING_GIT_CONFIG) as repository:
            wanted = _store_files(code, repository)
    except Busy:
        raise  # the store is away: the job is tried again
    except (GitError, DomainError) as error:
        give_up(code_id, f"{code.git_url} at {code.git_commit[:12]} was not fetched: {error}")
        return
    with transaction.atomic():
        blobs = claim_blobs(code.experiment.project, set(wanted.values()))
        manifest = make_manifest({path: blobs[digest] for path, digest in wanted.items()})
        _end(code, manifest=manifest, state=CodeState.READY)


def give_up(code_id: int, error: str) -> None:
    """Says why training code is not there."""
    with transaction.atomic():
        code = TrainingCode.objects.select_related("experiment__project").get(pk=code_id)
        _end(code, state=CodeState.FAILED, reason=error)


def _end(code: TrainingCode, **values: Any) -> None:
    """What became of code that was Fetching, once; nobody asked for it now, so the audit trail says the system."""
    if TrainingCode.objects.filter(pk=code.pk, state=CodeState.FETCHING).update(**values):
        manifest = values.get("manifest")
        after = {
            "number": code.number,
            "state": values["state"],
            "reason": values.get("reason", ""),
            "manifest": manifest.digest if manifest else None,
        }
        _record(system_actor(), "end_fetch", code.experiment, after)


def _store_files(code: TrainingCode, repository: Repository) -> dict[str, str]:
    files = repository.files(code.git_commit, code.git_path)
    if not files:
        raise GitError("There are no files.")
    if len(files) > MOST_FILES:
        raise GitError(f"There are {len(files)} files; at most {MOST_FILES} are allowed.")
    size = sum(file.size for file in files)
    if size > MOST_CODE:
        raise GitError(f"The files have {size} bytes together; at most {MOST_CODE} are allowed.")
    check_no_file_is_a_folder([check_path("git_path", file.path) for file in files])
    wanted = {}
    for file in files:
        with repository.content(file) as stream:
            wanted[file.path] = store_stream(code.experiment.project, stream, file.size).sha256
    return wanted


def check_git_url(url: object) -> str:
    """An address that an operator allows; Invalid says which ones are."""
    allowed = settings.TRAINING_GIT_URLS
    if not allowed:
        raise Invalid.field(
            "git_url",
            "git_url is given, and no repository is allowed here: upload a folder, or ask an operator to set"
            " TRAINING_GIT_URLS.",
        )
    address = check_pattern(
        "git_url", url, GIT_URL, "an address such as https://host/team/code.git", max_length=LONGEST_URL
    )
    steps = address.split("/")
    if ".." in steps or "%" in address or not any(_is_below(address, start) for start in allowed):
        raise Invalid.field(
            "git_url", f"git_url is {shorten(address)}; it must begin with {' or '.join(allowed)}."
        )
    return address


def _is_below(address: str, start: str) -> bool:
    return address.rstrip("/") == start.rstrip("/") or address.startswith(start.rstrip("/") + "/")


def newest_code(experiment: Experiment) -> TrainingCode | None:
    """What a schedule without a fixed code takes: the newest that is Ready."""
    return TrainingCode.objects.ready().filter(experiment=experiment).first()


def code_of(schedule: Schedule) -> TrainingCode:
    """The training code that a start now would take; Conflict where there is none."""
    if schedule.code_id:
        assert schedule.code is not None
        return schedule.code
    newest = newest_code(schedule.experiment)
    if newest is None:
        raise Conflict(
            f"The experiment {schedule.experiment.name} has no training code.",
            "Upload a folder and its command: client.upload_training_code(experiment_id, folder, command).",
            code="training_code_missing",
        )
    return newest


def _newest_or_next(
    actor: Actor, experiment: Experiment, given: Mapping[str, Any], state: CodeState = CodeState.READY
) -> tuple[TrainingCode, bool]:
    """The newest code where it is just so, or the next one, and whether it is new. The experiment is locked."""
    newest = TrainingCode.objects.filter(experiment=experiment).first()
    lives = newest is not None and newest.state != CodeState.FAILED
    if newest and lives and all(getattr(newest, name) == value for name, value in given.items()):
        return newest, False
    number = (newest.number if newest else 0) + 1
    code = TrainingCode.objects.create(
        experiment=experiment, number=number, state=state, created_by=actor.user, **given
    )
    return code, True


def _check_files(files: object) -> dict[str, str]:
    if not isinstance(files, Mapping) or not files:
        raise Invalid.field("files", "files must be an object of paths and their sha256, at least one.")
    if len(files) > MOST_FILES:
        raise Invalid.field("files", f"files has {len(files)} paths; at most {MOST_FILES} are allowed.")
    found = {check_path("files", path): check_digest("files", digest) for path, digest in files.items()}
    check_no_file_is_a_folder(found)
    return found


def _check_command(command: object) -> list[str]:
    if isinstance(command, str) or not isinstance(command, Sequence) or not command:
        raise Invalid.field(
            "command",
            f'command must be a list of words such as ["python", "train.py"], not {shorten(command)}.',
        )
    if len(command) > MOST_WORDS:
        raise Invalid.field("command", f"command has {len(command)} words; at most {MOST_WORDS} are allowed.")
    words = [check_text("command", word, max_length=LONGEST_WORD) for word in command]
    if not words[0].strip():
        raise Invalid.field("command", "command begins with an empty word; its first word is the program.")
    return words


def _check_schema(schema: object) -> dict[str, Any] | None:
    if schema is None:
        return None
    return check_schema(dict(schema) if isinstance(schema, Mapping) else schema)


def _lock_experiment(experiment: Experiment) -> None:
    Experiment.objects.select_for_update(no_key=True).get(pk=experiment.pk)


def _record(actor: Actor, verb: str, experiment: Experiment, after: Mapping[str, Any]) -> None:
    record(actor, verb, "experiment", experiment.public_id, project=experiment.project, after=dict(after))
