"""Verbs on experiments and runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, JSONField, Subquery, Sum, TextField, Value
from django.db.models.functions import Cast, Length
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.services import check_no_file_is_a_folder, claim_blobs
from common.checks import (
    check_labels,
    check_mapping,
    check_text,
    shorten,
)
from common.errors import Conflict, Invalid, Missing
from common.ids import new_id
from tracking.alerts import fire_alerts
from tracking.checks import (
    check_experiment_name,
    check_files,
    check_param,
    check_run_id,
    check_tags,
    check_uploaded,
)
from tracking.choices import RunStatus
from tracking.environment import check_environment
from tracking.models import Dataset, Experiment, Run, RunDataset, RunFile, RunParam, RunTag
from tracking.queries import (
    EXPERIMENT_ID,
    experiment_by,
    find_experiment,
    find_run,
    lock_run,
    run_ended,
    running_run,
)
from tracking.series import check_series, write_series

TEXT_LENGTH = 20_000
MAX_PARAMS = 10_000
MAX_PARAM_CHARACTERS = 1 << 20  # of a run's parameters together: lists of runs carry them all
MAX_RUN_FILES = 50_000  # whoever adds one looks at all their paths
MAX_REASON = 2000
ENDS = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.KILLED)


def create_experiment(
    *, actor: Actor, project: Project, name: str, description: str = "", tags: Iterable[str] = ()
) -> Experiment:
    """A new experiment; Conflict where the project has one of this name, archived ones included."""
    require(actor, project, Right.WRITE)
    values = {
        "name": check_experiment_name(name),
        "description": check_text("description", description, max_length=TEXT_LENGTH),
        "tags": check_labels("tags", tags),
    }
    with transaction.atomic():
        experiment = _insert_experiment(actor, project, values)
        if experiment is None:
            raise _name_taken(project, name)
    return experiment


def update_experiment(
    *,
    actor: Actor,
    project: Project,
    experiment_id: str,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] | None = None,
) -> Experiment:
    """Changes what is given; None leaves it as it is. Tags are replaced as a whole."""
    require(actor, project, Right.WRITE)
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = check_experiment_name(name)
    if description is not None:
        changes["description"] = check_text("description", description, max_length=TEXT_LENGTH)
    if tags is not None:
        changes["tags"] = check_labels("tags", tags)
    with transaction.atomic():
        experiment = _lock_experiment(project, experiment_id)
        _change(actor, "update_experiment", experiment, changes)
    return experiment


def archive_experiment(*, actor: Actor, project: Project, experiment_id: str) -> Experiment:
    """Takes an experiment out of the way: no new runs; what is there stays. Archiving twice changes nothing."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        experiment = _lock_experiment(project, experiment_id)
        if experiment.archived_at is None:
            _change(actor, "archive_experiment", experiment, {"archived_at": timezone.now()})
    return experiment


def restore_experiment(*, actor: Actor, project: Project, experiment_id: str) -> Experiment:
    """Brings an archived experiment back; one that is not archived stays as it is."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        experiment = _lock_experiment(project, experiment_id)
        _change(actor, "restore_experiment", experiment, {"archived_at": None})
    return experiment


def start_run(
    *,
    actor: Actor,
    project: Project,
    experiment_id: str | None = None,
    run_id: str | None = None,
    name: str = "",
    tags: Mapping[str, str] | None = None,
    parent_run_id: str | None = None,
    code_version: str = "",
    environment: Mapping[str, Any] | None = None,
) -> Run:
    """A Running run of the experiment with this id or name; a new name makes the experiment.

    `run_id` may be chosen by the caller (`run-` and 6 to 32 lower-case letters and digits). Where the project
    has this run already, it is resumed: name and tags given are set, code version, parent and environment
    stay. `environment` is what the recorder saw of its system, packages and code: JSON of at most 32 KiB.
    """
    require(actor, project, Right.WRITE)
    check_text("name", name, max_length=200)
    check_text("code_version", code_version, max_length=200)
    seen = check_environment({} if environment is None else environment)
    labels = check_tags(tags or {})
    chosen = new_id("run") if run_id is None else check_run_id(run_id)
    with transaction.atomic():
        run = None if run_id is None else _known_run(project, chosen)
        if run is None:
            experiment = _experiment_for_run(actor, project, experiment_id)
            parent = _find_parent(project, parent_run_id) if parent_run_id else None
            run = _insert_run(
                actor,
                experiment,
                public_id=chosen,
                name=name,
                parent=parent,
                code_version=code_version,
                environment=seen,
            )
        if run is None:
            run = _known_run(project, chosen)
            assert run is not None, "a run whose id is taken is there"
        if run.resumed:
            _same_experiment(run, experiment_id)
            _resume(actor, run, {"name": name} if name else {})
        _write_tags(run, labels)
    return run


def resume_run(*, actor: Actor, project: Project, run_id: str) -> Run:
    """Makes an ended run Running again, so that more can be logged to it; a Running one stays as it is."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        run = lock_run(project, run_id)
        _resume(actor, run, {})
    return run


def update_run(
    *,
    actor: Actor,
    project: Project,
    run_id: str,
    name: str | None = None,
    notes: str | None = None,
    tags: Mapping[str, str | None] | None = None,
) -> Run:
    """Changes what is given, of an ended run too. Tags given are set, None removes one, the others stay."""
    require(actor, project, Right.WRITE)
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = check_text("name", name, max_length=200)
    if notes is not None:
        changes["notes"] = check_text("notes", notes, max_length=TEXT_LENGTH)
    labels = check_tags(tags or {}, removable=True)
    with transaction.atomic():
        run = lock_run(project, run_id)
        before = {tag.key: tag.value for tag in run.tags.filter(key__in=labels)}
        _write_tags(run, labels)
        moved = {key: value for key, value in labels.items() if before.get(key) != value}
        _change(
            actor, "update_run", run, changes, also=({"tags": before}, {"tags": moved}) if moved else None
        )
    return run


def set_tags(*, actor: Actor, project: Project, run_id: str, tags: Mapping[str, str | None]) -> Run:
    """Sets these tags and keeps the others; None removes one."""
    return update_run(actor=actor, project=project, run_id=run_id, tags=tags)


def end_run(*, actor: Actor, project: Project, run_id: str, status: str, error: str = "") -> Run:
    """Ends a Running run as Completed, Failed or Killed. The same again is fine, another end is a Conflict."""
    require(actor, project, Right.WRITE)
    if status not in ENDS:
        raise Invalid.field("status", f"status is {shorten(status)}; it must be one of {', '.join(ENDS)}.")
    check_text("error", error, max_length=TEXT_LENGTH)
    return _end(actor, "end_run", project, run_id, status, error)


def kill_run(*, actor: Actor, project: Project, run_id: str, reason: str = "") -> Run:
    """Ends somebody's Running run as Killed; its `error` says who did it and why.

    Whoever records it learns it with the next values. A Killed run stays as it is, another end is a Conflict.
    """
    require(actor, project, Right.WRITE)
    check_text("reason", reason, max_length=MAX_REASON)
    sentence = f"Killed by {actor.user.username}{f': {reason.strip()}' if reason.strip() else '.'}"
    return _end(actor, "kill_run", project, run_id, RunStatus.KILLED, sentence)


def delete_run(*, actor: Actor, project: Project, run_id: str) -> None:
    """Takes a run away from every list. Its creator may, and maintainers; not while a version comes from it."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        run = lock_run(project, run_id)
        if run.created_by_id != actor.user.pk:
            require(actor, project, Right.MAINTAIN)
        versions = run.versions.filter(deleted_at=None, model__deleted_at=None).select_related("model")
        items = sorted(f"{version.model.name} version {version.number}" for version in versions)
        if items:
            raise Conflict(
                f"Run {run.public_id} is the source of {', '.join(items[:5])}{', …' if len(items) > 5 else ''}.",
                "Delete these versions first.",
                code="run_has_versions",
                items=items,
            )
        Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now())
        record(actor, "delete_run", "run", run.public_id, project=project, before={"name": run.name})


def log_params(*, actor: Actor, project: Project, run_id: str, params: Mapping[str, Any]) -> None:
    """Records parameters of a Running run, all of them or none.

    The same value again is fine; another value for a key is a Conflict `param_changed`. A run has at most 10,000, of
    1 MiB in all.
    """
    require(actor, project, Right.WRITE)
    checked = {
        key: check_param(f"params.{key}"[:120], value)
        for key, value in check_mapping("params", params, max_count=MAX_PARAMS).items()
    }
    with transaction.atomic():
        run = running_run(project, run_id)
        rows = [RunParam(run=run, key=key, value=_json(checked[key])) for key in sorted(checked)]
        RunParam.objects.bulk_create(rows, ignore_conflicts=True, batch_size=5000)
        count_of_all, size_of_all = _of_all_params(run)
        there = run.params.filter(key__in=list(checked)).annotate(count=count_of_all, characters=size_of_all)
        for key, value, count, characters in there.values_list("key", "value", "count", "characters"):
            if not _same(value, checked[key]):
                raise _param_changed(run, key, value, checked[key])
            _check_all_params(run, count, characters)


def log_metrics(*, actor: Actor, project: Project, run_id: str, series: Sequence[Mapping[str, Any]]) -> int:
    """Stores a batch of points of a Running run, all or none; returns how many.

    series: [{"key", "values", "steps"?, "timestamps"?}]; values are floats, NaN and the infinities included;
    without steps the points follow the highest step that the key has so far, from 0 on; without timestamps
    (milliseconds since 1970, UTC) they are of now.
    """
    require(actor, project, Right.WRITE)
    checked = check_series(series)
    # Series with and without steps are written one after the other, so such a batch must not meet another one.
    mixed = len({one.steps is None for one in checked}) == 2
    with transaction.atomic():
        run = running_run(project, run_id, alone=mixed)
        if checked:
            steps = write_series(run.pk, checked)
            if run.has_alerts:
                fire_alerts(project, run, checked, steps)
    return sum(len(one.values) for one in checked)


def log_dataset(
    *,
    actor: Actor,
    project: Project,
    run_id: str,
    name: str,
    path: str = "",
    description: str = "",
    digest: str = "",
    context: str = "",
) -> RunDataset:
    """Records which data a Running run used, and what for. Another digest or path is another data set."""
    require(actor, project, Right.WRITE)
    identity = {
        "name": check_text("name", name, max_length=200, required=True),
        "path": check_text("path", path, max_length=1024),
        "digest": check_text("digest", digest, max_length=128),
    }
    check_text("description", description, max_length=TEXT_LENGTH)
    check_text("context", context, max_length=64)
    with transaction.atomic():
        run = running_run(project, run_id)
        dataset, created = Dataset.objects.get_or_create(
            project=project, **identity, defaults={"description": description}
        )
        if not created and description and dataset.description != description:
            dataset.description = description
            dataset.save(update_fields=["description"])
        link, _ = RunDataset.objects.get_or_create(run=run, dataset=dataset, context=context)
    return link


def commit_files(
    *, actor: Actor, project: Project, run_id: str, files: Sequence[Mapping[str, str]]
) -> dict[str, RunFile]:
    """Gives a Running run these files, [{"path", "sha256"}], whose bytes the project has uploaded; all or none.

    A path that the run has already is replaced. At most 10,000 files at once, 50,000 in all.
    """
    require(actor, project, Right.WRITE)
    wanted = check_files(files)
    with transaction.atomic():
        blobs = claim_blobs(project, set(wanted.values()))
        check_uploaded(project, wanted, blobs)
        run = running_run(project, run_id, alone=True)
        present = list(run.files.exclude(path__in=list(wanted)).values_list("path", flat=True))
        if len(present) + len(wanted) > MAX_RUN_FILES:
            raise _too_many(run, f"{len(present) + len(wanted)} files", str(MAX_RUN_FILES), "files")
        check_no_file_is_a_folder(wanted, present)
        rows = [RunFile(run=run, path=path, blob=blobs[digest]) for path, digest in sorted(wanted.items())]
        RunFile.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["run", "path"],
            update_fields=["blob", "created_at"],
            batch_size=5000,
        )
    return {row.path: row for row in rows}


def _json(value: object) -> object:
    """None as JSON's null: Django would write SQL's."""
    return Value(None, JSONField()) if value is None else value


def _same(one: object, other: object) -> bool:
    """Equal as JSON values: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _of_all_params(run: Run) -> tuple[Subquery, Subquery]:
    """How many parameters the run has, and their characters together."""
    rows = RunParam.objects.filter(run=run).order_by().values("run")
    size = Sum(Length("key") + Length(Cast("value", TextField())))
    count = rows.annotate(found=Count("pk")).values("found")
    return Subquery(count), Subquery(rows.annotate(found=size).values("found"))


def _check_all_params(run: Run, count: int, characters: int) -> None:
    if count > MAX_PARAMS:
        raise _too_many(run, f"{count} parameters", str(MAX_PARAMS), "params")
    if characters > MAX_PARAM_CHARACTERS:
        said = f"parameters of {characters} characters together"
        raise _too_many(run, said, str(MAX_PARAM_CHARACTERS), "params")


def _too_many(run: Run, what: str, most: str, noun: str) -> Conflict:
    return Conflict(
        f"With these, {run.public_id} would have {what}; at most {most} are allowed.",
        "Pack them into one archive." if noun == "files" else "Log the rest as a file.",
        code=f"too_many_{noun}",
    )


def _param_changed(run: Run, key: str, old: object, new: object) -> Conflict:
    return Conflict(
        f"The parameter {shorten(key)} of {run.public_id} is {shorten(old)} and cannot become {shorten(new)}.",
        "A parameter is logged once; start another run, or use a metric for what changes.",
        code="param_changed",
    )


def _name_taken(project: Project, name: str) -> Conflict:
    return Conflict(
        f"An experiment named {shorten(name)} exists already in {project.slug}.",
        "Use it, or choose another name.",
        code="experiment_exists",
    )


def _insert_experiment(actor: Actor, project: Project, values: dict[str, Any]) -> Experiment | None:
    """The new row, or None where the name is taken."""
    try:
        with transaction.atomic():
            experiment = Experiment.objects.create(
                public_id=new_id("exp"), project=project, created_by=actor.user, **values
            )
    except IntegrityError:
        return None
    record(actor, "create_experiment", "experiment", experiment.public_id, project=project, after=values)
    return experiment


def _experiment_for_run(actor: Actor, project: Project, id_or_name: str | None) -> Experiment:
    """The experiment with this id or name, made when it is a new name; Conflict when it is archived."""
    if id_or_name is None:
        raise Invalid.field(
            "experiment_id",
            "A run needs an experiment.",
            "Give an id or a name; a new name makes the experiment.",
        )
    found = experiment_by(project, id_or_name)
    if found is None and EXPERIMENT_ID.fullmatch(id_or_name):
        found = find_experiment(project, id_or_name)
    if found is None:
        try:
            values = {"name": check_experiment_name(id_or_name)}
        except Invalid as error:
            raise Invalid.field("experiment_id", error.message.replace("name", "experiment_id", 1)) from error
        found = _insert_experiment(actor, project, values) or find_experiment(project, id_or_name)
    if found.archived_at is not None:
        raise Conflict(
            f"The experiment {shorten(found.name)} is archived.",
            "Restore it, or use another one.",
            code="experiment_archived",
        )
    return found


def _lock_experiment(project: Project, id_or_name: str) -> Experiment:
    found = find_experiment(project, id_or_name)
    return Experiment.objects.select_related("project").select_for_update(of=("self",)).get(pk=found.pk)


def _end(actor: Actor, verb: str, project: Project, run_id: str, status: str, error: str) -> Run:
    """Of several ends at once one counts; the same status again is fine, another one is a Conflict."""
    with transaction.atomic():
        run = find_run(project, run_id)
        running = Run.objects.alive().filter(pk=run.pk, status=RunStatus.RUNNING)
        won = running.update(status=status, error=error, ended_at=timezone.now())
        run = find_run(project, run_id)
        if won:
            after = {"status": status, **({"error": error} if error else {})}
            before = {"status": RunStatus.RUNNING.value}
            record(actor, verb, "run", run.public_id, project=project, before=before, after=after)
        elif run.status != status:
            raise run_ended(run, f"and cannot become {status}")
    return run


def _known_run(project: Project, run_id: str) -> Run | None:
    """The project's run with this id under its lock, to be resumed; Conflict when it was deleted."""
    rows = Run.objects.select_for_update(of=("self",)).select_related("project", "experiment")
    run = rows.filter(project=project, public_id=run_id).first()
    if run is not None and run.deleted_at is not None:
        raise Conflict(
            f"Run {run_id} was deleted.",
            "Choose another id, or ask a maintainer to restore it.",
            code="run_deleted",
        )
    if run is not None:
        run.resumed = True
    return run


def _insert_run(actor: Actor, experiment: Experiment, **values: Any) -> Run | None:
    """The new row, or None where somebody else took the id meanwhile."""
    try:
        with transaction.atomic():
            run = Run.objects.create(
                project=experiment.project, experiment=experiment, created_by=actor.user, **values
            )
    except IntegrityError:
        return None
    after = {"experiment": experiment.name, "name": run.name}
    record(actor, "start_run", "run", run.public_id, project=experiment.project, after=after)
    return run


def _find_parent(project: Project, run_id: str) -> Run:
    try:
        return find_run(project, run_id)
    except Missing as error:
        raise Missing(
            f"parent_run_id is {shorten(run_id)}, but there is no such run in {project.slug}.",
            "A parent is a run of the same project that was not deleted.",
            code="parent_not_found",
            fields={"parent_run_id": [f"There is no run {shorten(run_id)} in {project.slug}."]},
        ) from error


def _same_experiment(run: Run, id_or_name: str | None) -> None:
    if id_or_name is not None and id_or_name not in (run.experiment.public_id, run.experiment.name):
        raise Conflict(
            f"Run {run.public_id} belongs to the experiment {shorten(run.experiment.name)}, "
            f"not to {shorten(id_or_name)}.",
            "Choose another id for a new run.",
            code="run_of_other_experiment",
        )


def _resume(actor: Actor, run: Run, changes: Mapping[str, Any]) -> None:
    again = {"status": RunStatus.RUNNING, "error": "", "ended_at": None}
    _change(actor, "resume_run", run, {**(again if run.status != RunStatus.RUNNING else {}), **changes})


def _write_tags(run: Run, tags: Mapping[str, str | None]) -> None:
    run.tags.filter(key__in=[key for key, value in tags.items() if value is None]).delete()
    rows = [RunTag(run=run, key=key, value=value) for key, value in sorted(tags.items()) if value is not None]
    RunTag.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["run", "key"], update_fields=["value"]
    )


def _change(
    actor: Actor,
    verb: str,
    row: Experiment | Run,
    changes: Mapping[str, Any],
    *,
    also: tuple[dict[str, Any], dict[str, Any]] | None = None,
) -> None:
    """Writes what differs and its audit entry; nothing where nothing differs. `also`: (before, after) of other rows."""
    changed = {field: value for field, value in changes.items() if getattr(row, field) != value}
    if not changed and also is None:
        return
    before = {field: _plain(getattr(row, field)) for field in changed}
    for field, value in changed.items():
        setattr(row, field, value)
    _save(row, changed)
    after = {field: _plain(value) for field, value in changed.items()}
    more_before, more_after = also or ({}, {})
    noun = "run" if isinstance(row, Run) else "experiment"
    record(
        actor,
        verb,
        noun,
        row.public_id,
        project=row.project,
        before={**before, **more_before},
        after={**after, **more_after},
    )


def _save(row: Experiment | Run, changed: Mapping[str, Any]) -> None:
    if not changed:
        return
    try:
        with transaction.atomic():
            row.save(update_fields=list(changed))
    except IntegrityError as error:
        raise _name_taken(row.project, str(changed.get("name", ""))) from error


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
