"""What pages below one model or one version share."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.urls import reverse

from registry import queries
from registry.models import ModelVersion, RegisteredModel


class OfModel:
    """A page of one model; mixes into ProjectPage and FormPage."""

    project: Any
    kwargs: dict[str, Any]

    @cached_property
    def model(self) -> RegisteredModel:
        return queries.find_shown_model(self.project, self.kwargs["name"])

    def model_url(self) -> str:
        return reverse("registry:model", args=[self.project.slug, self.model.name])


class OfVersion(OfModel):
    """A page of one version."""

    @cached_property
    def version(self) -> ModelVersion:
        return queries.find_version(self.model, self.kwargs["number"])

    def version_url(self) -> str:
        return reverse("registry:version", args=[self.project.slug, self.model.name, self.version.number])

    @cached_property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that each verb on a version takes."""
        return {
            "actor": self.actor,  # type: ignore[attr-defined]
            "project": self.project,
            "model_name": self.model.name,
            "ref": self.version.number,
        }
