"""Forms of the registry's pages: they read what was typed; the verbs check it."""

from __future__ import annotations

from typing import Any

from django import forms


class LabelsInput(forms.CharField):
    """Labels as people type them: separated by commas."""

    def to_python(self, value: Any) -> Any:
        return [label.strip() for label in str(value or "").split(",") if label.strip()]

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value


class RegisterForm(forms.Form):
    name = forms.CharField(
        label="Name", max_length=200, help_text="Model identifier, for example sentiment-classifier."
    )
    description = forms.CharField(
        label="Description",
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="What the model does.",
    )
    tags = LabelsInput(
        label="Tags", required=False, help_text="Labels for organization, separated by commas."
    )


class EditModelForm(forms.Form):
    description = forms.CharField(
        label="Description", required=False, widget=forms.Textarea(attrs={"rows": 6})
    )
    tags = LabelsInput(label="Tags", required=False, help_text="Labels, separated by commas.")


class RegisterVersionForm(forms.Form):
    model_name = forms.CharField(
        label="Model name", max_length=200, help_text="An existing model, or the name of a new one."
    )
    artifact_path = forms.CharField(label="Artifact", max_length=1024)
    description = forms.CharField(
        label="Description", required=False, widget=forms.Textarea(attrs={"rows": 3})
    )


class ConfirmForm(forms.Form):
    confirm = forms.CharField(label="Type the name to confirm", max_length=200)


class AliasForm(forms.Form):
    alias = forms.CharField(
        label="Alias", max_length=64, help_text="For example latest-prod or best-accuracy."
    )
    version = forms.ChoiceField(label="Version")

    def __init__(self, *args: Any, numbers: list[int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(str(n), f"Version {n}") for n in numbers or []]
        self.fields["version"] = forms.ChoiceField(label="Version", choices=choices)


class TagForm(forms.Form):
    key = forms.CharField(label="Key", max_length=250)
    value = forms.CharField(label="Value", max_length=5000, required=False)
