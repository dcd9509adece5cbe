"""What is needed to make a version again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accounts.models import Project
from common.errors import Conflict
from registry.models import ModelVersion, RunInput
from scheduling.models import ScheduleExecution, TrainingCode
from scheduling.services import execution_of
from tracking.models import Run, RunDataset


@dataclass(frozen=True)
class Recipe:
    """The run that made a version, its code, parameters, data and surroundings.

    `configuration` is what the training program was given, `parameters` what it logged. `why_not` says why Run again
    is not possible; "" where it is.
    """

    run: Run | None
    code: TrainingCode | None
    code_version: str
    command: tuple[str, ...]
    configuration: dict[str, Any]
    parameters: dict[str, Any]
    datasets: tuple[RunDataset, ...]
    inputs: tuple[RunInput, ...]
    environment: dict[str, Any]
    why_not: str


def recipe_of(project: Project, version: ModelVersion) -> Recipe:
    """The recipe of a version; one that was imported has none but its parameters."""
    run = version.source_run
    execution = _execution(run)
    code = execution.code if execution else None
    return Recipe(
        run=run,
        code=code,
        code_version=run.code_version if run else "",
        command=tuple(code.command) if code else (),
        configuration=execution.configuration if execution else {},
        parameters={param.key: param.value for param in version.params.all()},
        datasets=tuple(RunDataset.objects.filter(run=run).select_related("dataset")) if run else (),
        inputs=tuple(RunInput.objects.filter(run=run).select_related("version__model")) if run else (),
        environment=run.environment if run else {},
        why_not=_why_not(project, run),
    )


def _execution(run: Run | None) -> ScheduleExecution | None:
    rows = ScheduleExecution.objects.filter(run=run).exclude(run=None).exclude(code=None)
    return rows.select_related("code__experiment", "code__manifest", "schedule").order_by("-pk").first()


def _why_not(project: Project, run: Run | None) -> str:
    if run is None:
        return "It was not made by a run of this project."
    try:
        execution_of(project, run.public_id)
    except Conflict as error:
        return " ".join(filter(None, [error.message, error.hint]))
    return ""
