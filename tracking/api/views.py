"""The REST door of experiments and runs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.db.models import Q
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from artifacts.api.serializers import FileSerializer, PathsInput
from artifacts.api.serve import serve_batch, serve_blob
from artifacts.paths import check_path
from common.api.filters import ordered, ordering_of
from common.checks import shorten
from common.errors import Missing
from tracking import alerts, queries, services, trash
from tracking.api import serializers as s
from tracking.filters import YES, ExperimentFilter, RunFilter
from tracking.models import Experiment, Run
from tracking.search import RUN_COLUMNS, run_sort

FILE = {(200, "application/octet-stream"): OpenApiTypes.BINARY}
EXPERIMENT_PARAMETERS = [
    OpenApiParameter("search", str, description="text in name or description"),
    OpenApiParameter("name", str, description="exactly this name"),
    OpenApiParameter("archived", str, enum=["true", "false"], description="only these; without it, all"),
    OpenApiParameter("ordering", str, description="created_at, name; with - the other way"),
]
RUN_PARAMETERS = [
    OpenApiParameter("experiment", str, description="an experiment's id or name"),
    OpenApiParameter("status", str, enum=["Running", "Completed", "Failed", "Killed"]),
    OpenApiParameter(
        "deleted", str, enum=["true", "false"], description="true: only deleted ones, which maintainers see"
    ),
    OpenApiParameter("parent", str, description="the id of the run that they are part of"),
    OpenApiParameter("search", str, description="text in name, id or notes"),
    OpenApiParameter("author", str, description="who started it"),
    OpenApiParameter("started_after", OpenApiTypes.DATETIME),
    OpenApiParameter("started_before", OpenApiTypes.DATETIME),
    OpenApiParameter("filter", str, description="an expression of the filter language"),
    OpenApiParameter(
        "ordering",
        str,
        description="started_at, name, status, experiment, created_by, duration, metrics.<key>, min.<key>, max.<key> "
        "or params.<key>; with - the other way",
    ),
]


class ExperimentView(ProjectView):
    """A view on the experiment that the address names by id or name."""

    @cached_property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that each verb on an experiment takes."""
        return {"actor": self.actor, "project": self.project, "experiment_id": self.kwargs["experiment_id"]}

    def answer(self, experiment: Experiment, status: int = 200) -> Response:
        found = (
            Experiment.objects.with_run_count().select_related("project", "created_by").get(pk=experiment.pk)
        )
        return Response(s.ExperimentSerializer(found).data, status=status)


class ExperimentsView(ExperimentView):
    @extend_schema(
        operation_id="list_experiments",
        summary="List and search experiments",
        parameters=EXPERIMENT_PARAMETERS,
        responses=s.ExperimentSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        rows = Experiment.objects.filter(project=self.project).with_run_count()
        rows = rows.select_related("project", "created_by")
        ordering = ordering_of(request, ("created_at", "name"), "-created_at")
        return self.page(rows, s.ExperimentSerializer, ordering, filters=ExperimentFilter, also=("ordering",))

    @extend_schema(
        operation_id="create_experiment",
        summary="Create an experiment",
        request=s.ExperimentInput,
        responses={201: s.ExperimentSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        data = self.data(s.ExperimentInput)
        return self.answer(services.create_experiment(actor=self.actor, project=self.project, **data), 201)


class OneExperimentView(ExperimentView):
    @extend_schema(
        operation_id="get_experiment", summary="Read an experiment", responses=s.ExperimentSerializer
    )
    def get(self, request: Request, project: str, experiment_id: str) -> Response:
        return self.answer(queries.find_experiment(self.project, experiment_id))

    @extend_schema(
        operation_id="update_experiment",
        summary="Rename or describe an experiment",
        request=s.ExperimentChange,
        responses=s.ExperimentSerializer,
    )
    def patch(self, request: Request, project: str, experiment_id: str) -> Response:
        changes = self.data(s.ExperimentChange, partial=True)
        return self.answer(services.update_experiment(**self.where, **changes))


class ArchiveExperimentView(ExperimentView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="archive_experiment",
        summary="Archive an experiment",
        request=None,
        responses=s.ExperimentSerializer,
    )
    def post(self, request: Request, project: str, experiment_id: str) -> Response:
        return self.answer(services.archive_experiment(**self.where))


class RestoreExperimentView(ExperimentView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="restore_experiment",
        summary="Restore an archived experiment",
        request=None,
        responses=s.ExperimentSerializer,
    )
    def post(self, request: Request, project: str, experiment_id: str) -> Response:
        return self.answer(services.restore_experiment(**self.where))


class RunView(ProjectView):
    """A view on the run that the address names."""

    @cached_property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that each verb on a run takes."""
        return {"actor": self.actor, "project": self.project, "run_id": self.kwargs["run_id"]}

    @property
    def run(self) -> Run:
        return queries.find_run(self.project, self.kwargs["run_id"])

    def answer(self, run: Run, status: int = 200) -> Response:
        return Response(s.RunSerializer(Run.objects.with_summary().get(pk=run.pk)).data, status=status)


class RunsView(RunView):
    @extend_schema(
        operation_id="list_runs",
        summary="List and search runs",
        parameters=RUN_PARAMETERS,
        responses=s.RunSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        if request.query_params.get("deleted") == YES:
            rows = trash.listed_trash(actor=self.actor, project=self.project).with_summary()
        else:
            rows = Run.objects.alive().filter(project=self.project).with_summary()
        found, ordering = ordered(rows, request, RUN_COLUMNS, "-started_at", run_sort)
        return self.page(found, s.RunSerializer, ordering, filters=RunFilter, also=("ordering",))

    @extend_schema(
        operation_id="start_run",
        summary="Start a run, or resume the one whose id is given",
        request=s.RunInput,
        responses={201: s.RunSerializer, 200: s.RunSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        data = self.data(s.RunInput)
        run = services.start_run(actor=self.actor, project=self.project, run_id=data.pop("id", None), **data)
        return self.answer(run, 200 if run.resumed else 201)


class OneRunView(RunView):
    @extend_schema(operation_id="get_run", summary="Read a run", responses=s.RunSerializer)
    def get(self, request: Request, project: str, run_id: str) -> Response:
        return self.answer(self.run)

    @extend_schema(
        operation_id="update_run",
        summary="Change a run's name, notes or tags",
        request=s.RunChange,
        responses=s.RunSerializer,
    )
    def patch(self, request: Request, project: str, run_id: str) -> Response:
        return self.answer(services.update_run(**self.where, **self.data(s.RunChange, partial=True)))

    @extend_schema(operation_id="delete_run", summary="Delete a run", responses={204: None})
    def delete(self, request: Request, project: str, run_id: str) -> Response:
        services.delete_run(**self.where)
        return Response(status=204)


class RestoreRunView(RunView):
    bodiless = ("POST",)

    @extend_schema(
        operation_id="restore_run", summary="Restore a deleted run", request=None, responses=s.RunSerializer
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        return self.answer(trash.restore_run(**self.where))


class EndRunView(RunView):
    @extend_schema(operation_id="end_run", summary="End a run", request=s.RunEnd, responses=s.RunSerializer)
    def post(self, request: Request, project: str, run_id: str) -> Response:
        return self.answer(services.end_run(**self.where, **self.data(s.RunEnd)))


class KillRunView(RunView):
    @extend_schema(
        operation_id="kill_run",
        summary="End somebody's running run as Killed",
        request=s.RunKill,
        responses=s.RunSerializer,
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        return self.answer(services.kill_run(**self.where, **self.data(s.RunKill)))


class AlertsView(RunView):
    @extend_schema(
        operation_id="list_run_alerts",
        summary="List a run's alerts",
        responses=s.AlertSerializer(many=True),
    )
    def get(self, request: Request, project: str, run_id: str) -> Response:
        return self.page(self.run.alerts.select_related("created_by"), s.AlertSerializer, ("id",))

    @extend_schema(
        operation_id="create_run_alert",
        summary="Watch a running run for a metric's value",
        request=s.AlertInput,
        responses={201: s.AlertSerializer},
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        alert = alerts.create_run_alert(**self.where, **self.data(s.AlertInput))
        return Response(s.AlertSerializer(alert).data, status=201)


class OneAlertView(RunView):
    @extend_schema(operation_id="delete_run_alert", summary="Delete an alert", responses={204: None})
    def delete(self, request: Request, project: str, run_id: str, alert_id: str) -> Response:
        alerts.delete_run_alert(**self.where, alert_id=alert_id)
        return Response(status=204)


class ParamsView(RunView):
    @extend_schema(
        operation_id="log_params",
        summary="Record parameters, each once",
        request=s.ParamsInput,
        responses={200: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        services.log_params(**self.where, **self.data(s.ParamsInput))
        return Response({})


class MetricsView(RunView):
    @extend_schema(
        operation_id="get_metrics", summary="A run's metrics in short", responses=s.MetricsSerializer
    )
    def get(self, request: Request, project: str, run_id: str) -> Response:
        return Response(s.MetricsSerializer(self.run).data)

    @extend_schema(
        operation_id="log_metrics",
        summary="Record points of metrics",
        request=s.MetricsInput,
        responses=s.AcceptedSerializer,
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        return Response({"accepted": services.log_metrics(**self.where, **self.data(s.MetricsInput))})


class DatasetsView(RunView):
    @extend_schema(
        operation_id="log_dataset",
        summary="Record data that a run used",
        request=s.DatasetInput,
        responses={201: s.DatasetSerializer},
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        link = services.log_dataset(**self.where, **self.data(s.DatasetInput))
        return Response(s.DatasetSerializer(link).data, status=201)


class RunFilesView(RunView):
    @extend_schema(
        operation_id="list_run_files",
        summary="A run's files, by path",
        parameters=[OpenApiParameter("path", str, description="this file, or the files below this folder")],
        responses=FileSerializer(many=True),
    )
    def get(self, request: Request, project: str, run_id: str) -> Response:
        files = self.run.files.select_related("blob")
        path = request.query_params.get("path", "").removesuffix("/")
        if path:
            check_path("path", path)
            files = files.filter(Q(path=path) | Q(path__startswith=f"{path}/"))
        return self.page(files, FileSerializer, ("path",), also=("path",))

    @extend_schema(
        operation_id="commit_files",
        summary="Give a run files whose bytes were uploaded",
        request=s.FilesInput,
        responses=s.CommittedSerializer,
    )
    def post(self, request: Request, project: str, run_id: str) -> Response:
        return Response({"committed": len(services.commit_files(**self.where, **self.data(s.FilesInput)))})


class ReadRunFilesView(RunView):
    answers_kept = False

    @extend_schema(
        operation_id="read_run_files",
        summary="Many small files' bytes in one answer",
        request=PathsInput,
        responses=FILE,
    )
    def post(self, request: Request, project: str, run_id: str) -> HttpResponseBase:
        paths = self.data(PathsInput)["paths"]
        files = self.run.files.filter(path__in=paths).select_related("blob")
        return serve_batch({file.path: file.blob for file in files}, paths)


class RunFileView(RunView):
    @extend_schema(operation_id="download_run_file", summary="One file's bytes", responses=FILE)
    def get(self, request: Request, project: str, run_id: str, path: str) -> HttpResponseBase:
        run = self.run
        file = run.files.filter(path=path).select_related("blob").first()
        if file is None:
            raise Missing(f"Run {run.public_id} has no file {shorten(path)}.", code="file_not_found")
        return serve_blob(request._request, file.blob, path.rpartition("/")[2])
