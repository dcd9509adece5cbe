"""The portal's pages of experiments and runs."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts.portal import ProjectPage
from artifacts.api.serve import serve_blob
from common.checks import plain_number
from common.errors import Missing
from tracking import queries
from tracking.histories import metric_history
from tracking.models import Experiment, Run

MOST_CURVES = 24
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
    """An experiment and its runs."""

    def get(self, request: HttpRequest, project: str, experiment_id: str) -> HttpResponse:
        experiment = queries.find_experiment(self.project, experiment_id)
        status = request.GET.get("status", "")
        page = self.page_of(runs_of(experiment, status))
        keys = queries.common_metrics(page, METRIC_COLUMNS)
        for run in page:
            values = {metric.key: metric.last for metric in run.metrics.all()}
            run.columns = [values.get(key) for key in keys]
        return self.show(
            "tracking/experiment_detail.html",
            experiment=experiment,
            page=page,
            metric_keys=keys,
            status=status,
            statuses=Run._meta.get_field("status").choices,
        )


def runs_of(experiment: Experiment, status: str) -> QuerySet[Run]:
    rows = Run.objects.alive().filter(experiment=experiment)
    if status:
        rows = rows.filter(status=status)
    return rows.select_related("created_by").prefetch_related("metrics").order_by("-started_at", "-id")


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
    history = metric_history(run, key)
    return {"key": key, "steps": history.steps, "values": [plain_number(v) for v in history.numbers]}


class RunFileDownload(ProjectPage):
    def get(self, request: HttpRequest, project: str, run_id: str, path: str) -> HttpResponseBase:
        run = queries.find_run(self.project, run_id)
        file = run.files.filter(path=path).select_related("blob").first()
        if file is None:
            raise Missing(f"Run {run.public_id} has no file {path[:80]!r}.")
        return serve_blob(request, file.blob, path.rsplit("/", 1)[-1])
