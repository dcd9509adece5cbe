"""The portal's pages that change experiments and runs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from accounts.portal import FormPage, ProjectPage, SurePage, TypedPage
from tracking import queries, services
from tracking.forms import ExperimentForm, ReasonForm, RunForm
from tracking.models import Experiment, Run


class OfExperiment:
    """A page of one experiment."""

    project: Any
    actor: Any
    kwargs: dict[str, Any]

    @cached_property
    def experiment(self) -> Experiment:
        return queries.find_experiment(self.project, self.kwargs["experiment_id"])

    @property
    def where(self) -> dict[str, Any]:
        return {
            "actor": self.actor,
            "project": self.project,
            "experiment_id": self.experiment.public_id,
        }

    def experiment_url(self) -> str:
        return reverse("tracking:experiment", args=[self.project.slug, self.experiment.public_id])


class EditExperiment(OfExperiment, FormPage):
    form_class = ExperimentForm
    template = "tracking/experiment_edit.html"
    success_message = "The change is saved."

    def initial(self) -> dict[str, Any]:
        found = self.experiment
        return {"name": found.name, "description": found.description, "tags": found.tags}

    def extra(self) -> dict[str, Any]:
        return {"experiment": self.experiment}

    def perform(self, data: dict[str, Any]) -> str:
        services.update_experiment(**self.where, **data)
        return self.experiment_url()


class Archive(OfExperiment, SurePage):
    """**Archive**: out of the list; its runs stay."""

    template = "tracking/experiment_archive.html"
    success_message = "The experiment is archived: it takes no new runs."

    def extra(self) -> dict[str, Any]:
        return {"experiment": self.experiment}

    def perform(self, data: dict[str, Any]) -> str:
        services.archive_experiment(**self.where)
        return self.experiment_url()


class Restore(OfExperiment, ProjectPage):
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        services.restore_experiment(**self.where)
        messages.success(request, "The experiment is back.")
        return redirect(self.experiment_url())


class OfRun:
    """A page of one run."""

    project: Any
    actor: Any
    kwargs: dict[str, Any]

    @cached_property
    def run(self) -> Run:
        return queries.find_run(self.project, self.kwargs["run_id"])

    @property
    def where(self) -> dict[str, Any]:
        return {"actor": self.actor, "project": self.project, "run_id": self.run.public_id}

    def extra(self) -> dict[str, Any]:
        return {"run": self.run}

    def run_url(self) -> str:
        return reverse("tracking:run", args=[self.project.slug, self.run.public_id])


class EditRun(OfRun, FormPage):
    form_class = RunForm
    template = "tracking/run_edit.html"
    success_message = "The change is saved."

    def initial(self) -> dict[str, Any]:
        return {"name": self.run.name, "notes": self.run.notes}

    def perform(self, data: dict[str, Any]) -> str:
        services.update_run(**self.where, **data)
        return self.run_url()


class KillRun(OfRun, FormPage):
    """**Kill**: ends a run that goes on."""

    form_class = ReasonForm
    template = "tracking/run_kill.html"
    success_message = "The run is Killed; its program is told when it logs next."

    def perform(self, data: dict[str, Any]) -> str:
        services.kill_run(**self.where, **data)
        return self.run_url()


class DeleteRun(OfRun, TypedPage):
    """**Delete run**: asks for its name to be typed, or its id where it has none."""

    template = "tracking/run_delete.html"
    success_message = "The run is deleted."

    @property
    def confirm_text(self) -> str:
        return str(self.run)

    def perform(self, data: dict[str, Any]) -> str:
        experiment = self.run.experiment
        services.delete_run(**self.where)
        return reverse("tracking:experiment", args=[self.project.slug, experiment.public_id])
