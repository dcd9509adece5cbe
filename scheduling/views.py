"""The portal's pages of schedules."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from accounts.portal import FormPage, ProjectPage, SurePage, TypedPage
from common.errors import Conflict, DomainError
from common.heads import Sorting
from scheduling import services
from scheduling.choices import OPEN_STATES, CodeState
from scheduling.cron import check_cron
from scheduling.filters import YES, ExecutionFilter, ScheduleFilter
from scheduling.forms import FetchCodeForm, ScheduleForm
from scheduling.logs import read_tail
from scheduling.models import Schedule, ScheduleExecution, TrainingCode
from scheduling.queries import cron_of, find_deleted_schedule, find_execution, find_schedule
from scheduling.training_code import fetch_training_code, newest_code
from tracking.models import Experiment
from tracking.queries import find_experiment

SCHEDULE_COLUMNS = {
    "name": ("Schedule", "name"),
    "experiment": ("Experiment", "experiment__name"),
    "next_at": ("Next", "next_at"),
    "by": ("Made by", "created_by__username"),
}
NEXT_TIMES = 5
MOST_EXPERIMENTS = 500


class ScheduleList(ProjectPage):
    """**MLOps > Schedules**; with ?deleted=true those that were deleted, whose executions stay readable."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        deleted = request.GET.get("deleted") == YES
        rows = Schedule.objects.with_details().filter(project=self.project, deleted_at__isnull=not deleted)
        found = ScheduleFilter(request.GET, queryset=rows)
        newest = ScheduleExecution.objects.filter(schedule=OuterRef("pk")).order_by("-id")
        shown = (found.qs if found.is_valid() else rows.none()).annotate(
            last_state=Subquery(newest.values("state")[:1]),
            last_id=Subquery(newest.values("public_id")[:1]),
        )
        columns = SCHEDULE_COLUMNS | ({"next_at": ("Deleted", "deleted_at")} if deleted else {})
        sorting = Sorting.of(request, columns, "name")
        page = self.page_of(shown.order_by(*sorting.order))
        return self.show(
            "scheduling/schedule_list.html",
            page=page,
            sorting=sorting,
            search=request.GET.get("search", ""),
            deleted=deleted,
            filtered=bool(request.GET.get("search")),
        )


class OfSchedule:
    """A page of one schedule."""

    project: Any
    actor: Any
    kwargs: dict[str, Any]

    @cached_property
    def schedule(self) -> Schedule:
        return find_schedule(self.project, self.kwargs["schedule"])

    @property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that each verb on a schedule takes."""
        return {"actor": self.actor, "project": self.project, "name": self.schedule.name}

    def schedule_url(self) -> str:
        return reverse("scheduling:detail", args=[self.project.slug, self.schedule.name])


class ScheduleDetail(OfSchedule, ProjectPage):
    def get(self, request: HttpRequest, project: str, schedule: str) -> HttpResponse:
        found = self.schedule
        rows = ScheduleExecution.objects.filter(schedule=found).select_related("version__model", "created_by")
        chosen = ExecutionFilter(request.GET, queryset=rows)
        cron = cron_of(found)
        times = [] if found.paused_at else list(islice(cron.after(timezone.now()), NEXT_TIMES))
        page = self.page_of((chosen.qs if chosen.is_valid() else rows.none()).order_by("-id"))
        return self.show(
            "scheduling/schedule_detail.html",
            schedule=found,
            words=cron.words,
            next_times=times,
            longest=timedelta(seconds=found.timeout),
            page=page,
            living=any(execution.state in OPEN_STATES for execution in page),
            training_code=found.code or newest_code(found.experiment),
        )


class DeletedSchedule(ProjectPage):
    """What is left of a schedule that was deleted: its executions."""

    def get(self, request: HttpRequest, project: str, pk: int) -> HttpResponse:
        found = find_deleted_schedule(self.project, pk)
        rows = ScheduleExecution.objects.filter(schedule=found).select_related("created_by")
        page = self.page_of(rows.order_by("-id"))
        return self.show("scheduling/schedule_deleted.html", schedule=found, page=page)


class OfExperiment:
    """What the pages of an experiment's training code share."""

    kwargs: dict[str, Any]
    project: Any

    @cached_property
    def experiment(self) -> Experiment:
        return find_experiment(self.project, self.kwargs["experiment_id"])


class CodeList(OfExperiment, ProjectPage):
    """An experiment's training code, the newest first."""

    def get(self, request: HttpRequest, project: str, experiment_id: str) -> HttpResponse:
        rows = TrainingCode.objects.filter(experiment=self.experiment)
        page = self.page_of(rows.select_related("manifest", "created_by"))
        return self.show(
            "scheduling/code_list.html",
            experiment=self.experiment,
            page=page,
            may_fetch=bool(settings.TRAINING_GIT_URLS),
            living=any(code.state == CodeState.FETCHING for code in page),
        )


class FetchCode(OfExperiment, FormPage):
    """**Fetch from Git**."""

    form_class = FetchCodeForm
    template = "scheduling/code_fetch.html"
    success_message = "A worker fetches the code."

    def extra(self) -> dict[str, Any]:
        return {"experiment": self.experiment, "allowed": settings.TRAINING_GIT_URLS}

    def perform(self, data: dict[str, Any]) -> str:
        found = self.experiment.public_id
        fetch_training_code(actor=self.actor, project=self.project, experiment_id=found, **data)
        return reverse("scheduling:code", args=[self.project.slug, found])


class ScheduleFormPage(FormPage):
    """What creating and editing share."""

    form_class = ScheduleForm
    template = "scheduling/schedule_form.html"

    def extra(self) -> dict[str, Any]:
        rows = Experiment.objects.filter(project=self.project, archived_at=None).order_by("name")
        return {
            "experiments": rows.values_list("name", flat=True)[:MOST_EXPERIMENTS],
            "zones": sorted(available_timezones() - {"localtime", "Factory"}),
        }


class CreateSchedule(ScheduleFormPage):
    """**Create Schedule**."""

    success_message = "The schedule is created."

    def initial(self) -> dict[str, Any]:
        return {"experiment_id": self.request.GET.get("experiment", ""), "configuration": {}}

    def perform(self, data: dict[str, Any]) -> str:
        schedule = services.create_schedule(actor=self.actor, project=self.project, **data)
        return reverse("scheduling:detail", args=[self.project.slug, schedule.name])


class EditSchedule(OfSchedule, ScheduleFormPage):
    """**Edit**; the name stays, links and records go by it."""

    success_message = "The change is saved. It starts nothing by itself."

    def initial(self) -> dict[str, Any]:
        found = services.facts(self.schedule)
        return {**found, "experiment_id": self.schedule.experiment.name}

    def make_form(self, data: QueryDict | None = None) -> Form:
        form = super().make_form(data)
        name = form.fields["name"]
        name.widget.attrs["readonly"] = True
        name.help_text = "It stays: links, records and programs go by it."
        return form

    def extra(self) -> dict[str, Any]:
        return {**super().extra(), "schedule": self.schedule}

    def perform(self, data: dict[str, Any]) -> str:
        if data.pop("name") != self.schedule.name:
            raise Conflict("A schedule keeps its name; delete it and create another one.")
        services.update_schedule(**self.where, **data)
        return self.schedule_url()


class Times(ProjectPage):
    """What a cron expression says while it is typed."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        text, zone = request.GET.get("cron", ""), request.GET.get("timezone", "") or "UTC"
        try:
            cron = check_cron(text, zone)
        except DomainError as error:
            return self.show("scheduling/times.html", error=error if text.strip() else None)
        times = list(islice(cron.after(timezone.now()), NEXT_TIMES))
        return self.show("scheduling/times.html", cron=cron, times=times)


class OnSchedule(OfSchedule, ProjectPage):
    """One button on a schedule, POST only."""

    http_method_names = ["post"]
    verb: Any
    sentence: str

    def post(self, request: HttpRequest, project: str, schedule: str) -> HttpResponseBase:
        type(self).verb(**self.where)
        messages.success(request, self.sentence)
        return redirect(self.schedule_url())


class Pause(OnSchedule):
    verb = staticmethod(services.pause_schedule)
    sentence = "The schedule is paused."


class Resume(OnSchedule):
    verb = staticmethod(services.resume_schedule)
    sentence = "The schedule goes on with its next time."


class RunNow(OnSchedule):
    verb = staticmethod(services.trigger_schedule)
    sentence = "It runs as soon as a worker is free."


class DeleteSchedule(OfSchedule, TypedPage):
    """**Delete**: asks for the name."""

    template = "scheduling/schedule_delete.html"
    success_message = "The schedule is deleted; its executions stay readable."

    def extra(self) -> dict[str, Any]:
        running = self.schedule.executions.filter(state__in=OPEN_STATES)
        return {"schedule": self.schedule, "running": running}

    @property
    def confirm_text(self) -> str:
        return self.schedule.name

    def perform(self, data: dict[str, Any]) -> str:
        services.delete_schedule(**self.where)
        return reverse("scheduling:list", args=[self.project.slug])


class ExecutionDetail(ProjectPage):
    """One execution, with its log as it comes."""

    def get(self, request: HttpRequest, project: str, execution: str) -> HttpResponse:
        found = find_execution(self.project, execution)
        text, cut = read_tail(found)
        return self.show(
            "scheduling/execution.html",
            execution=found,
            schedule=found.schedule,
            living=found.state in OPEN_STATES,
            log=text,
            log_cut=cut,
        )


class Stop(SurePage):
    """**Stop**: says what is lost."""

    template = "scheduling/stop.html"
    success_message = "It is being stopped."

    @cached_property
    def execution(self) -> ScheduleExecution:
        return find_execution(self.project, self.kwargs["execution"])

    def extra(self) -> dict[str, Any]:
        return {"execution": self.execution, "schedule": self.execution.schedule}

    def perform(self, data: dict[str, Any]) -> str:
        found = self.execution.public_id
        services.stop_execution(actor=self.actor, project=self.project, execution_id=found)
        return reverse("scheduling:execution", args=[self.project.slug, found])
