"""The REST door of reading metrics back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from common.api.fields import NUMBER_SCHEMA
from common.api.filters import filtered, only, ordered
from common.api.text import JsonText
from common.checks import check_whole, shorten
from common.errors import Invalid
from tracking import export, histories
from tracking.api.serializers import RunComparisonSerializer
from tracking.api.views import RUN_PARAMETERS, RunView
from tracking.compare import compare_runs
from tracking.export import CSV, FORMATS, PARQUET
from tracking.filters import RunFilter
from tracking.histories import FEWEST_POINTS, MOST_POINTS, MOST_SERIES, USUAL_POINTS, Series, Wanted
from tracking.models import Run
from tracking.search import RUN_COLUMNS, run_sort

MAX_STEP_DIGITS = 19
CONTENT_TYPES = {CSV: "text/csv; charset=utf-8", PARQUET: "application/vnd.apache.parquet"}
TABLES = {(200, name.partition(";")[0]): OpenApiTypes.BINARY for name in CONTENT_TYPES.values()}
FORMAT = OpenApiParameter(
    "format", str, required=True, enum=list(FORMATS), description="parquet where the server has pyarrow"
)
STEPS = [
    OpenApiParameter("from_step", int, description="the first step wanted"),
    OpenApiParameter("to_step", int, description="the last step wanted"),
]
POINTS = {"type": "integer", "minimum": FEWEST_POINTS, "maximum": MOST_POINTS}
WHOLE = {"type": "array", "items": {"type": "integer", "format": "int64"}}
SERIES = {
    "key": {"type": "string"},
    "steps": WHOLE,
    "values": {"type": "array", "items": NUMBER_SCHEMA},
    "timestamps": {**WHOLE, "description": "milliseconds since 1970, UTC"},
    "thinned": {"type": "boolean", "description": "points were left out"},
    "total": {"type": "integer", "description": "points in the range, those left out too"},
}
HISTORY = {"type": "object", "properties": SERIES, "required": list(SERIES)}
ONE_OF_MANY = {
    "type": "object",
    "properties": {"run_id": {"type": "string"}, **SERIES},
    "required": ["run_id", *SERIES],
}
HISTORIES = {
    "type": "object",
    "properties": {"series": {"type": "array", "items": ONE_OF_MANY}},
    "required": ["series"],
}


class MetricView(RunView):
    @extend_schema(
        operation_id="get_metric_history",
        summary="One metric's points",
        parameters=[
            *STEPS,
            OpenApiParameter("points", POINTS, description="at most so many, no peak lost; without it, all"),
        ],
        responses={(200, "application/json"): HISTORY},
    )
    def get(self, request: Request, project: str, run_id: str, key: str) -> JsonText:
        return history(request, self.run, key)


class MetricHistoriesView(ProjectView):
    @extend_schema(
        operation_id="get_metric_histories",
        summary=f"Points of several metrics of several runs, at most {MOST_SERIES} series",
        parameters=[
            OpenApiParameter("run", str, many=True, required=True, description="a run's id; several times"),
            OpenApiParameter("key", str, many=True, required=True, description="a metric; several times"),
            *STEPS,
            OpenApiParameter(
                "points", {**POINTS, "default": USUAL_POINTS}, description="at most so many per series"
            ),
        ],
        responses={(200, "application/json"): HISTORIES},
    )
    def get(self, request: Request, project: str) -> JsonText:
        only(request, ("run", "key", "from_step", "to_step", "points"), often=("run", "key"))
        asked = request.query_params
        found = histories.metric_histories(
            self.project, asked.getlist("run"), asked.getlist("key"), wanted_of(request, USUAL_POINTS)
        )
        return JsonText(f'{{"series":[{",".join(written(series, "run_id", "key") for series in found)}]}}')


class CompareRunsView(ProjectView):
    @extend_schema(
        operation_id="compare_runs",
        summary="Two to ten runs side by side",
        parameters=[
            OpenApiParameter("run", str, many=True, required=True, description="a run's id; several times")
        ],
        responses=RunComparisonSerializer,
    )
    def get(self, request: Request, project: str) -> Response:
        only(request, ("run",), often=("run",))
        found = compare_runs(self.project, request.query_params.getlist("run"))
        return Response(RunComparisonSerializer(found).data)


class ExportMetricsView(RunView):
    @extend_schema(
        operation_id="export_metrics",
        summary="All points of a run's metrics as a table: run_id, key, step, timestamp, value",
        parameters=[
            FORMAT,
            OpenApiParameter("key", str, many=True, description="a metric; several times; without it, all"),
        ],
        responses=TABLES,
    )
    def get(self, request: Request, project: str, run_id: str) -> HttpResponseBase:
        run = self.run
        if "format" not in request.query_params and run.metrics.filter(key="export").exists():
            return history(request, run, "export")
        only(request, ("format", "key"), often=("key",))
        kind = export.check_format(request.query_params.get("format"))
        keys = export.metrics_of(run, request.query_params.getlist("key"))
        write = export.metrics_as_csv if kind == CSV else export.metrics_as_parquet
        return table(write(run, keys), kind, f"{run.public_id}-metrics")


class ExportRunsView(ProjectView):
    @extend_schema(
        operation_id="export_runs",
        summary="Runs as a table, a row each: what they are, params.*, metrics.*, tags.*",
        parameters=[FORMAT, *RUN_PARAMETERS],
        responses=TABLES,
    )
    def get(self, request: Request, project: str) -> HttpResponseBase:
        rows = Run.objects.alive().filter(project=self.project)
        found = filtered(RunFilter, rows, request, self.project, ("format", "ordering"))
        kind = export.check_format(request.query_params.get("format"))
        runs, ordering = ordered(found, request, RUN_COLUMNS, "-started_at", run_sort)
        write = export.runs_as_csv if kind == CSV else export.runs_as_parquet
        return table(write(runs.order_by(*ordering), export.columns_of(runs)), kind, f"{project}-runs")


def table(content: Iterator[bytes] | IO[bytes], kind: str, name: str) -> HttpResponseBase:
    """A table to be saved as a file; what is an open file is closed at the end."""
    answer = FileResponse if kind == PARQUET else StreamingHttpResponse
    found = answer(content, content_type=CONTENT_TYPES[kind])
    found["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return found


def history(request: Request, run: Run, key: str) -> JsonText:
    only(request, ("from_step", "to_step", "points"))
    return JsonText(written(histories.metric_history(run, key, wanted_of(request))))


def written(series: Series, *names: str) -> str:
    """A series as JSON, with these of its names."""
    about = "".join(f'"{name}":{json.dumps(getattr(series, name))},' for name in names or ("key",))
    return (
        f'{{{about}"steps":[{",".join(map(str, series.steps))}],"values":{histories.json_numbers(series.values)},'
        f'"timestamps":[{",".join(series.timestamps)}],"thinned":{json.dumps(series.thinned)},'
        f'"total":{series.total}}}'
    )


def wanted_of(request: Request, usual: int | None = None) -> Wanted:
    """The steps and the number of points that the query string asks for."""
    points = whole_of(request, "points")
    if points is not None:
        check_whole("points", points, low=FEWEST_POINTS, high=MOST_POINTS)
    return Wanted(whole_of(request, "from_step"), whole_of(request, "to_step"), points or usual)


def whole_of(request: Request, name: str) -> int | None:
    """A whole number from the query string; None without it."""
    text = request.query_params.get(name)
    if text is None:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_STEP_DIGITS):
        raise Invalid.field(name, f"{name} is {shorten(text)}; it must be a whole number.")
    return int(text)
