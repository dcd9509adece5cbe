"""The REST door of schedules."""

from __future__ import annotations

from itertools import islice
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from common.api.filters import only, ordering_of
from common.checks import shorten
from common.errors import Invalid
from scheduling import logs, services
from scheduling.api import serializers as s
from scheduling.cron import check_cron
from scheduling.filters import YES, ExecutionFilter, ScheduleFilter
from scheduling.models import Schedule, ScheduleExecution, TrainingCode
from scheduling.queries import find_deleted_schedule, find_execution, find_schedule, find_schedule_once
from scheduling.training_code import fetch_training_code, upload_training_code
from tracking.queries import find_experiment

ORDERINGS = ("name", "created_at", "updated_at", "next_at")
EXECUTION_PARAMETERS = [
    OpenApiParameter("state", str, enum=[state for state, _ in s.ExecutionState.choices]),
    OpenApiParameter("trigger", str, enum=[each for each, _ in s.Trigger.choices]),
    OpenApiParameter("created_after", str),
    OpenApiParameter("created_before", str),
]


class TrainingCodesView(ProjectView):
    @extend_schema(
        operation_id="list_training_code",
        summary="An experiment's training code, newest first",
        responses=s.TrainingCodeSerializer(many=True),
    )
    def get(self, request: Request, project: str, experiment_id: str) -> Response:
        experiment = find_experiment(self.project, experiment_id)
        rows = TrainingCode.objects.filter(experiment=experiment)
        return self.page(
            rows.select_related("experiment", "manifest", "created_by"),
            s.TrainingCodeSerializer,
            ("-number",),
        )

    @extend_schema(
        operation_id="upload_training_code",
        summary="Give an experiment the code that trains: uploaded files or a Git commit, and a command",
        request=s.TrainingCodeInput,
        responses={201: s.TrainingCodeSerializer},
    )
    def post(self, request: Request, project: str, experiment_id: str) -> Response:
        data = self.data(s.TrainingCodeInput)
        from_git = set(data) & {"git_url", "git_commit", "git_path"}
        if "files" in data and from_git:
            raise Invalid.field("files", "files and git_url are both given; give one of them.")
        for name in ("git_url", "git_commit") if from_git else ("files",):
            if name not in data:
                raise Invalid.field(name, f"{name} is missing.")
        verb = fetch_training_code if from_git else upload_training_code
        code = verb(actor=self.actor, project=self.project, experiment_id=experiment_id, **data)
        return Response(s.TrainingCodeSerializer(code).data, status=201)


class SchedulesView(ProjectView):
    @extend_schema(
        operation_id="list_schedules",
        summary="List and search schedules",
        parameters=[
            OpenApiParameter("search", str, description="text in the name"),
            OpenApiParameter("experiment", str, description="an experiment's id or name"),
            OpenApiParameter("paused", str, enum=["true", "false"]),
            OpenApiParameter("deleted", str, enum=["true", "false"], description="true: only deleted ones"),
            OpenApiParameter("ordering", str, description=", ".join(ORDERINGS) + "; with - the other way"),
        ],
        responses=s.ScheduleSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        rows = Schedule.objects.with_details().filter(project=self.project)
        if request.query_params.get("deleted") != YES:
            rows = rows.alive()
        ordering = ordering_of(request, ORDERINGS, "name")
        return self.page(rows, s.ScheduleSerializer, ordering, filters=ScheduleFilter, also=("ordering",))

    @extend_schema(
        operation_id="create_schedule",
        summary="Create Schedule",
        request=s.ScheduleInput,
        responses={201: s.ScheduleSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        schedule = services.create_schedule(
            actor=self.actor, project=self.project, **self.data(s.ScheduleInput)
        )
        return Response(s.ScheduleSerializer(schedule).data, status=201)


class TimesView(ProjectView):
    @extend_schema(
        operation_id="get_schedule_times",
        summary="What a cron expression says, in words, and its next five times",
        parameters=[
            OpenApiParameter("cron", str, required=True, description="five fields, such as 0 2 * * *"),
            OpenApiParameter("timezone", str, description="IANA name; UTC"),
        ],
        responses=s.CronSerializer,
    )
    def get(self, request: Request, project: str) -> Response:
        only(request, ("cron", "timezone"))
        cron = check_cron(request.query_params.get("cron", ""), request.query_params.get("timezone", "UTC"))
        times = list(islice(cron.after(timezone.now()), s.NEXT_TIMES))
        said = {"cron": cron.expression, "timezone": cron.timezone, "words": cron.words, "next_times": times}
        return Response(s.CronSerializer(said).data)


class ScheduleView(ProjectView):
    """A view of one schedule."""

    @property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that each verb on a schedule takes."""
        return {"actor": self.actor, "project": self.project, "name": self.kwargs["schedule"]}


class OneScheduleView(ScheduleView):
    @extend_schema(operation_id="get_schedule", summary="Read a schedule", responses=s.ScheduleSerializer)
    def get(self, request: Request, project: str, schedule: str) -> Response:
        return Response(s.ScheduleSerializer(find_schedule(self.project, schedule)).data)

    @extend_schema(
        operation_id="update_schedule",
        summary="Change what is given; an edit never starts anything by itself",
        request=s.ScheduleChange,
        responses=s.ScheduleSerializer,
    )
    def patch(self, request: Request, project: str, schedule: str) -> Response:
        changes = self.data(s.ScheduleChange, partial=True)
        return Response(s.ScheduleSerializer(services.update_schedule(**self.where, **changes)).data)

    @extend_schema(
        operation_id="delete_schedule",
        summary="Delete a schedule; its executions stay readable",
        responses={204: None},
    )
    def delete(self, request: Request, project: str, schedule: str) -> Response:
        services.delete_schedule(**self.where)
        return Response(status=204)


class PauseView(ScheduleView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="pause_schedule", summary="Pause", request=None, responses=s.ScheduleSerializer
    )
    def post(self, request: Request, project: str, schedule: str) -> Response:
        return Response(s.ScheduleSerializer(services.pause_schedule(**self.where)).data)


class ResumeView(ScheduleView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="resume_schedule", summary="Resume", request=None, responses=s.ScheduleSerializer
    )
    def post(self, request: Request, project: str, schedule: str) -> Response:
        return Response(s.ScheduleSerializer(services.resume_schedule(**self.where)).data)


class TriggerView(ScheduleView):
    @extend_schema(
        operation_id="trigger_schedule",
        summary="Run now",
        request=s.TriggerInput,
        responses={201: s.ExecutionSerializer},
    )
    def post(self, request: Request, project: str, schedule: str) -> Response:
        execution = services.trigger_schedule(**self.where, **self.data(s.TriggerInput))
        return Response(s.ExecutionSerializer(execution).data, status=201)


class RunAgainView(ProjectView):
    @extend_schema(
        operation_id="run_again",
        summary="Start a run's training once more, with the same or another configuration",
        request=s.TriggerInput,
        responses={201: s.ExecutionSerializer},
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        about: dict[str, Any] = {"actor": self.actor, "project": self.project, "run_id": run_id}
        execution = services.run_again(**about, **self.data(s.TriggerInput))
        return Response(s.ExecutionSerializer(execution).data, status=201)


class ExecutionList(ProjectView):
    """Lists what a schedule did."""

    def executions_of(self, schedule: Schedule) -> Response:
        rows = ScheduleExecution.objects.filter(schedule=schedule).select_related(
            "schedule", "code", "run", "version__model", "created_by"
        )
        return self.page(rows, s.ExecutionSerializer, filters=ExecutionFilter)


class ExecutionsView(ExecutionList):
    @extend_schema(
        operation_id="list_schedule_executions",
        summary="A schedule's executions, newest first; also of the one of this name that was deleted last",
        parameters=EXECUTION_PARAMETERS,
        responses=s.ExecutionSerializer(many=True),
    )
    def get(self, request: Request, project: str, schedule: str) -> Response:
        return self.executions_of(find_schedule_once(self.project, schedule))


class DeletedExecutionsView(ExecutionList):
    @extend_schema(
        operation_id="list_deleted_schedule_executions",
        summary="A deleted schedule's executions, newest first, by its id: others may have had its name",
        parameters=EXECUTION_PARAMETERS,
        responses=s.ExecutionSerializer(many=True),
    )
    def get(self, request: Request, project: str, schedule_id: int) -> Response:
        return self.executions_of(find_deleted_schedule(self.project, schedule_id))


class ExecutionView(ProjectView):
    @extend_schema(
        operation_id="get_schedule_execution", summary="Read an execution", responses=s.ExecutionSerializer
    )
    def get(self, request: Request, project: str, execution: str) -> Response:
        return Response(s.ExecutionSerializer(find_execution(self.project, execution)).data)


class StopView(ProjectView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="stop_schedule_execution", summary="Stop", request=None, responses=s.ExecutionSerializer
    )
    def post(self, request: Request, project: str, execution: str) -> Response:
        found = services.stop_execution(actor=self.actor, project=self.project, execution_id=execution)
        return Response(s.ExecutionSerializer(found).data)


class LogView(ProjectView):
    @extend_schema(
        operation_id="read_execution_log",
        summary="What the program wrote, from an offset on; also while it runs",
        parameters=[OpenApiParameter("offset", int, description="bytes; 0")],
        responses=s.LogSerializer,
    )
    def get(self, request: Request, project: str, execution: str) -> Response:
        only(request, ("offset",))
        piece = logs.read_log(find_execution(self.project, execution), _offset(request))
        return Response(s.LogSerializer(piece).data)


def _offset(request: Request) -> int:
    text = request.query_params.get("offset", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Invalid.field("offset", f"offset is {shorten(text)}; it must be a whole number from 0 on.")
    return int(text)
