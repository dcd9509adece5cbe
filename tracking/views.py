"""The portal's pages of experiments and runs."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts.portal import ProjectPage
from artifacts.api.serve import serve_blob
from common.api.filters import sorted_by
from common.checks import plain_number
from common.errors import Invalid, Missing
from common.heads import Head
from tracking import queries
from tracking.compare import compare_runs
from tracking.filters import RunFilter
from tracking.histories import Wanted, metric_history
from tracking.models import Experiment, Run
from tracking.search import RUN_COLUMNS, run_sort

MOST_CURVES = 24
MOST_DRAWN = 1000  # points of a curve; thinned so that no peak is lost
METRIC_COLUMNS = 4


class ExperimentList(ProjectPage):
    """**MLOps > Experiments**."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        search, archived = request.GET.get("search", ""), "archived" in request.GET
        rows = Experiment.objects.filter(project=self.project, archived_at__isnull=not archived)
        if search:
            rows = rows.filter(name__icontains=search)
        page = self.page_of(rows.with_run_count().select_related("created_by").order_by("-created_at", "-id"))
        return self.show("tracking/experiment_list.html", page=page, search=search, archived=archived)


class ExperimentDetail(ProjectPage):
    """An experiment and its runs, filtered and sorted by anything that they logged."""

    def get(self, request: HttpRequest, project: str, experiment_id: str) -> HttpResponse:
        experiment = queries.find_experiment(self.project, experiment_id)
        runs = Run.objects.alive().filter(experiment=experiment)
        error = ""
        try:
            shown = asked_runs(request, runs)
        except Invalid as refusal:
            shown, error = runs.none(), " ".join(filter(None, [refusal.message, refusal.hint]))
        page = self.page_of(shown.select_related("created_by").prefetch_related("metrics"))
        keys = queries.common_metrics(page, METRIC_COLUMNS)
        for run in page:
            values = {metric.key: metric.last for metric in run.metrics.all()}
            run.columns = [values.get(key) for key in keys]
        return self.show(
            "tracking/experiment_detail.html",
            code=422 if error else 200,
            experiment=experiment,
            page=page,
            heads=[Head.of(request, f"metrics.{key}", key) for key in keys],
            name_head=Head.of(request, "name", "Run"),
            status_head=Head.of(request, "status", "Status"),
            started_head=Head.of(request, "started_at", "Started", usual="-started_at"),
            status=request.GET.get("status", ""),
            condition=request.GET.get("filter", ""),
            ordering=request.GET.get("ordering", ""),
            filter_error=error,
            filtered=any(request.GET.get(name) for name in ("status", "filter")),
            statuses=Run._meta.get_field("status").choices,
        )


def asked_runs(request: HttpRequest, runs: QuerySet[Run]) -> QuerySet[Run]:
    """Those that `status` and `filter` leave, in the order of `ordering`; Invalid where one of them is wrong."""
    found = RunFilter(request.GET, queryset=runs)
    if not found.is_valid():
        raise Invalid("; ".join(str(each) for errors in found.errors.values() for each in errors))
    rows, ordering = sorted_by(
        found.qs, request.GET.get("ordering", ""), RUN_COLUMNS, "-started_at", run_sort
    )
    return rows.order_by(*ordering)


class CompareRuns(ProjectPage):
    """**Compare**: `?run=…&run=…`."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        found = compare_runs(self.project, request.GET.getlist("run"))
        return self.show("tracking/compare.html", comparison=found)


class RunDetail(ProjectPage):
    def get(self, request: HttpRequest, project: str, run_id: str) -> HttpResponse:
        found = queries.find_run(self.project, run_id)
        run = Run.objects.with_details().get(pk=found.pk)
        metrics = list(run.metrics.all())
        return self.show(
            "tracking/run_detail.html",
            run=run,
            experiment=run.experiment,
            params=run.params.all(),
            metrics=metrics,
            curves=[curve(run, metric.key) for metric in metrics[:MOST_CURVES] if metric.count > 1],
            tags=run.tags.all(),
            files=run.files.all(),
            datasets=[(link.dataset, link.context) for link in run.dataset_links.all()],
            versions=run.versions.filter(deleted_at=None, model__deleted_at=None).select_related("model"),
        )


def curve(run: Run, key: str) -> dict[str, Any]:
    """One metric as the chart takes it: {"key", "steps", "values"}."""
    history = metric_history(run, key, Wanted(points=MOST_DRAWN))
    return {"key": key, "steps": history.steps, "values": [plain_number(v) for v in history.numbers]}


class RunFileDownload(ProjectPage):
    def get(self, request: HttpRequest, project: str, run_id: str, path: str) -> HttpResponseBase:
        run = queries.find_run(self.project, run_id)
        file = run.files.filter(path=path).select_related("blob").first()
        if file is None:
            raise Missing(f"Run {run.public_id} has no file {path[:80]!r}.")
        return serve_blob(request, file.blob, path.rsplit("/", 1)[-1])
