"""The portal's pages of endpoints."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from accounts.portal import FormPage, ProjectPage
from common.errors import Missing
from deployments import services
from deployments.choices import EndpointState
from deployments.forms import DeployForm
from deployments.models import Deployment
from registry.portal import OfVersion

ROWS = 50
SETTLED = (EndpointState.ACTIVE, EndpointState.INACTIVE, EndpointState.FAILED, EndpointState.DEGRADED)


class DeploymentList(ProjectPage):
    """**MLOps > Deployments**."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        rows = Deployment.objects.alive().filter(project=self.project).with_details()
        return self.show(
            "deployments/deployment_list.html", page=self.page_of(rows.order_by("-updated_at", "-id"))
        )


class OfEndpoint:
    """A page of one endpoint."""

    project: Any
    kwargs: dict[str, Any]

    @cached_property
    def deployment(self) -> Deployment:
        rows = Deployment.objects.alive().filter(project=self.project).with_details()
        found = rows.filter(endpoint_name=self.kwargs["endpoint"]).first()
        if found is None:
            raise Missing(f"There is no endpoint {self.kwargs['endpoint'][:63]!r} in {self.project.slug}.")
        return found


class DeploymentDetail(OfEndpoint, ProjectPage):
    def get(self, request: HttpRequest, project: str, endpoint: str) -> HttpResponse:
        deployment = self.deployment
        revisions = deployment.revisions.select_related("version", "created_by").order_by("-number")
        return self.show(
            "deployments/deployment_detail.html",
            deployment=deployment,
            model=deployment.model,
            revision=deployment.wanted_revision,
            settled=deployment.state in SETTLED,
            endpoint_url=services.endpoint_url(deployment),
            events=deployment.events.select_related("revision").order_by("-id")[:ROWS],
            revisions=revisions[:ROWS],
        )


class Undeploy(OfEndpoint, ProjectPage):
    """**Undeploy**, **Deploy** again and **Delete**: one button each, POST only."""

    http_method_names = ["post"]
    verbs = {
        "undeploy": (services.undeploy, "The endpoint is being undeployed."),
        "deploy": (services.deploy_again, "The endpoint is being deployed again."),
        "delete": (services.delete_deployment, "The endpoint is deleted."),
    }

    def post(
        self, request: HttpRequest, project: str, endpoint: str, verb: str = "undeploy"
    ) -> HttpResponseBase:
        act, sentence = self.verbs[verb]
        act(actor=self.actor, project=self.project, endpoint_name=self.deployment.endpoint_name)
        messages.success(request, sentence)
        if verb == "delete":
            return redirect("deployments:list", project=self.project.slug)
        return redirect("deployments:detail", project=self.project.slug, endpoint=endpoint)


class Deploy(OfVersion, FormPage):
    """**Deploy**: endpoint name, GPU type, scaling settings."""

    form_class = DeployForm
    template = "deployments/deploy.html"
    success_message = "The endpoint is being deployed."

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.version}

    def initial(self) -> dict[str, Any]:
        return {"min_replicas": 1, "max_replicas": 1}

    def perform(self, data: dict[str, Any]) -> str:
        deployment = services.deploy(
            actor=self.actor,
            project=self.project,
            model_name=self.model.name,
            version=self.version.number,
            **data,
        )
        return reverse("deployments:detail", args=[self.project.slug, deployment.endpoint_name])
