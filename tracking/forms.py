"""The forms of experiments and runs."""

from __future__ import annotations

from typing import Any

from django import forms


class Labels(forms.CharField):
    """Labels with commas between them, as a list."""

    def clean(self, value: Any) -> Any:
        return [label.strip() for label in super().clean(value).split(",") if label.strip()]

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else ", ".join(value or ())


class ExperimentForm(forms.Form):
    name = forms.CharField(label="Name", max_length=200)
    description = forms.CharField(
        label="Description",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text="Markdown.",
    )
    tags = Labels(label="Tags", required=False, max_length=2000, help_text="With commas between them.")


class RunForm(forms.Form):
    name = forms.CharField(label="Name", max_length=250, required=False)
    notes = forms.CharField(
        label="Notes",
        required=False,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="Markdown.",
    )


class ReasonForm(forms.Form):
    reason = forms.CharField(label="Reason", required=False, max_length=500)
