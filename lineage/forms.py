"""The forms of the pages about lineage and impact."""

from __future__ import annotations

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


class AgainForm(forms.Form):
    configuration = forms.JSONField(
        label="Configuration",
        required=False,
        widget=forms.Textarea(attrs={"rows": 8, "class": "form-control id"}),
        help_text="What the program is given, as JSON; change it for another try.",
    )
