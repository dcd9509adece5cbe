"""The portal's page that changes a stage."""

from __future__ import annotations

from typing import Any

from accounts.portal import FormPage
from approvals import services
from approvals.forms import ChangeStageForm
from registry.portal import OfVersion


class ChangeStage(OfVersion, FormPage):
    """**Change Stage**."""

    form_class = ChangeStageForm
    template = "approvals/change_stage.html"

    def initial(self) -> dict[str, Any]:
        return {"stage": self.version.stage}

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.version}

    def perform(self, data: dict[str, Any]) -> str:
        moved = services.transition_stage(**self.where, **data)
        self.success_message = (
            f"Version {self.version.number} moved from {moved.from_stage} to {moved.to_stage}."
        )
        return self.version_url()
