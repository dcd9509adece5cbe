"""The forms of the pages about lineage and impact."""

from __future__ import annotations

from typing import Any

from django import forms

from lineage.services import MESSAGE_LENGTH
from registry.quarantine import REASON_LENGTH


class NotifyForm(forms.Form):
    message = forms.CharField(
        label="Message", max_length=MESSAGE_LENGTH, widget=forms.Textarea(attrs={"rows": 3})
    )


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Reason", max_length=REASON_LENGTH, widget=forms.Textarea(attrs={"rows": 3})
    )


class QuarantineForm(ReasonForm):
    endpoints = forms.ChoiceField(
        label="Endpoints that serve one",
        required=False,
        choices=[("", "Choose, if there are any"), ("keep", "Go on serving"), ("undeploy", "Undeploy them")],
    )

    confirm = forms.CharField(
        label="Type undeploy to confirm",
        required=False,
        max_length=20,
        help_text="Their URLs answer nobody from then on.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean_endpoints(self) -> str | None:
        return self.cleaned_data["endpoints"] or None

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.pop("confirm", "") != "undeploy" and data.get("endpoints") == "undeploy":
            self.add_error("confirm", "Type undeploy to confirm; nothing was quarantined or undeployed.")
        return data


class AgainForm(forms.Form):
    configuration = forms.JSONField(
        label="Configuration",
        required=False,
        widget=forms.Textarea(attrs={"rows": 8, "class": "form-control id"}),
        help_text="What the program is given, as JSON; change it for another try.",
    )
