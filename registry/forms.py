"""Forms of the registry's pages: they read what was typed; the verbs check it."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.choices import Role
from registry.choices import Protected
from registry.protections import USUAL_ROLES


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
        label="Model name",
        max_length=200,
        widget=forms.TextInput(attrs={"list": "model-names"}),
        help_text="An existing model, or the name of a new one.",
    )
    artifact_path = forms.CharField(
        label="Artifact",
        max_length=1024,
        widget=forms.TextInput(attrs={"list": "artifacts"}),
        help_text="A file of the run, or a folder with all that lies in it.",
    )
    description = forms.CharField(
        label="Description", required=False, widget=forms.Textarea(attrs={"rows": 3})
    )


class AliasForm(forms.Form):
    alias = forms.CharField(
        label="Alias",
        max_length=64,
        help_text="For example latest-prod or best-accuracy. One that exists moves, and endpoints that follow it do.",
    )
    version = forms.IntegerField(
        label="Version",
        min_value=1,
        widget=forms.NumberInput(attrs={"list": "newest-versions"}),
        help_text="Its number; the newest are offered.",
    )


class TagForm(forms.Form):
    key = forms.CharField(label="Key", max_length=250)
    value = forms.CharField(label="Value", max_length=5000, required=False)


class DescriptionForm(forms.Form):
    description = forms.CharField(
        label="Description",
        required=False,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="Markdown. The files of a version never change.",
    )


class ReleaseForm(forms.Form):
    note = forms.CharField(
        label="Why it is safe",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Kept in the audit trail with your name.",
    )


class RestoreForm(forms.Form):
    """What shall come back: a run, a version (model and number), or a model, maybe under another name."""

    run = forms.CharField(required=False, max_length=40)
    model = forms.CharField(required=False, max_length=200)
    number = forms.IntegerField(required=False, min_value=1, max_value=10**9)
    as_name = forms.CharField(required=False, max_length=200)


class ProtectionForm(forms.Form):
    kind = forms.ChoiceField(label="What", choices=Protected.choices)
    name = forms.CharField(label="Name", max_length=64, help_text="An alias, or a stage such as Production.")
    model_name = forms.CharField(
        label="Model", required=False, max_length=200, help_text="Empty: all models of the project."
    )
    roles = forms.MultipleChoiceField(
        label="Who may move it",
        required=False,
        choices=Role.choices,
        initial=list(USUAL_ROLES),
        widget=forms.CheckboxSelectMultiple,
    )
    groups = LabelsInput(label="Groups", required=False, help_text="Names of groups, separated by commas.")

    def asked(self) -> dict[str, Any]:
        """What the verb takes; no model means all of them."""
        return {**self.cleaned_data, "model_name": self.cleaned_data["model_name"] or None}


class RemoveForm(forms.Form):
    remove = forms.IntegerField(min_value=1, max_value=2**62)
