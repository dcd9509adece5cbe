"""The forms of schedules."""

from __future__ import annotations

import json
import shlex
from typing import Any

from django import forms

from registry.choices import Stage
from scheduling.choices import CatchUp, EngineName, Overlap
from scheduling.cron import LONGEST
from scheduling.services import LONGEST_PATH


class JsonText(forms.CharField):
    """A JSON object that a person types; empty is {}."""

    widget = forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "form-control code-input"})

    def clean(self, value: Any) -> Any:
        text = super().clean(value).strip()
        if not text:
            return {}
        try:
            return json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
        except RecursionError:
            raise forms.ValidationError("This is nested too deeply.") from None
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from None

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number in JSON.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} stands there twice.")
        found[key] = value
    return found


class ScheduleForm(forms.Form):
    """What **Create Schedule** and **Edit** ask for."""

    name = forms.CharField(label="Name", max_length=100)
    experiment_id = forms.CharField(
        label="Experiment", max_length=200, widget=forms.TextInput(attrs={"list": "experiments"})
    )
    cron = forms.CharField(
        label="Cron Expression",
        max_length=LONGEST,
        help_text="Minute, hour, day of month, month, day of week; 0 2 * * * is daily at 2 AM.",
    )
    timezone = forms.CharField(
        label="Time zone", max_length=64, initial="UTC", widget=forms.TextInput(attrs={"list": "zones"})
    )
    configuration = JsonText(
        label="Configuration",
        required=False,
        help_text="Training parameters as a JSON object; the program finds them at PODSTACK_CONFIGURATION.",
    )
    overlap = forms.ChoiceField(
        label="While the one before still runs", choices=Overlap.choices, initial=Overlap.SKIP
    )
    catch_up = forms.ChoiceField(
        label="Moments at which the platform was away", choices=CatchUp.choices, initial=CatchUp.NONE
    )
    starting_deadline = forms.IntegerField(
        label="Starting deadline",
        min_value=1,
        required=False,
        help_text="Seconds by which one may start late after downtime; empty for none.",
    )
    timeout = forms.IntegerField(
        label="Longest run", min_value=1, initial=86_400, help_text="Seconds; then it is ended."
    )
    cpu_limit = forms.IntegerField(
        label="CPU limit", min_value=1, required=False, help_text="Seconds of CPU; empty for none."
    )
    memory_limit = forms.IntegerField(
        label="Memory limit", min_value=16, required=False, help_text="MiB; empty for none."
    )
    file_size_limit = forms.IntegerField(
        label="File size limit", min_value=1, required=False, help_text="MiB of one file; empty for none."
    )
    engine = forms.ChoiceField(
        label="Where it trains",
        required=False,
        choices=[("", "As the operators set it"), *EngineName.choices],
    )
    max_attempts = forms.IntegerField(label="Attempts", min_value=1, max_value=10, initial=1)
    model_name = forms.CharField(
        label="Register as model",
        max_length=200,
        required=False,
        help_text="A version of this model is registered from each run that succeeds.",
    )
    artifact_path = forms.CharField(label="Artifact path", max_length=LONGEST_PATH, required=False)
    promote_metric = forms.CharField(
        label="Promote by this metric",
        max_length=250,
        required=False,
        help_text="If it is better than Production's. Empty: the checks of the model's policy decide.",
    )
    promote_stage = forms.ChoiceField(
        label="Promote to",
        required=False,
        choices=[("", "Nothing"), (Stage.STAGING, "Staging"), (Stage.PRODUCTION, "Production")],
    )

    first = ("name", "experiment_id", "cron", "timezone", "configuration")

    def main_fields(self) -> list[forms.BoundField]:
        return [field for field in self if field.name in self.first]

    def other_fields(self) -> list[forms.BoundField]:
        return [field for field in self if field.name not in self.first]

    def others_matter(self) -> bool:
        """Whether the folded part must stand open."""
        return any(field.errors for field in self.other_fields())


class FetchCodeForm(forms.Form):
    """Training code from a Git repository."""

    git_url = forms.CharField(label="Repository", max_length=500)
    git_commit = forms.CharField(
        label="Commit", max_length=64, help_text="Its full id: a branch would be another code tomorrow."
    )
    git_path = forms.CharField(
        label="Folder", max_length=1000, required=False, help_text="In the repository; empty for all of it."
    )
    command = forms.CharField(
        label="Command", max_length=4000, help_text="What trains, as in python train.py; no shell reads it."
    )

    def clean_command(self) -> list[str]:
        try:
            return shlex.split(self.cleaned_data["command"])
        except ValueError as error:
            raise forms.ValidationError(f"This is no command: {error}.") from None
