"""The forms of stage changes, reviews and policies."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.text import capfirst

from approvals.models import OWN_REVIEW
from approvals.policies import MOST_APPROVALS, MOST_DAYS
from registry.choices import Stage

REASON = 5000


def paragraph(label: str, help_text: str = "", rows: int = 3, required: bool = False) -> forms.CharField:
    """A text of several lines."""
    return forms.CharField(
        label=label,
        required=required,
        max_length=REASON,
        widget=forms.Textarea(attrs={"rows": rows}),
        help_text=help_text,
    )


class ChangeStageForm(forms.Form):
    stage = forms.ChoiceField(
        label="New stage",
        choices=Stage.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose the new stage."},
    )
    note = paragraph("Transition note", "Why the stage changes. Optional, kept in the history.")
    archive_previous = forms.BooleanField(
        label="Archive what stands in Production now",
        required=False,
        help_text="Only when the new stage is Production.",
    )


class BypassForm(ChangeStageForm):
    """For who may pass a policy by."""

    bypass_reason = paragraph(
        "Reason to bypass the policy",
        "Only to move at once, without approval. The reviewers are told, and the history keeps it for ever.",
        rows=2,
    )


class ManyStagesForm(forms.Form):
    stage = forms.ChoiceField(label="New stage", choices=[("", "Choose one"), *Stage.choices])
    note = paragraph("Transition note", "Kept in the history of each.", rows=2)


class ManyTagsForm(forms.Form):
    key = forms.CharField(label="Key", max_length=250)
    value = forms.CharField(label="Value", max_length=5000, required=False)


class ManyDeletedForm(forms.Form):
    confirm = forms.CharField(label="Type delete to confirm", max_length=20)

    def clean_confirm(self) -> str:
        if self.cleaned_data["confirm"] != "delete":
            raise forms.ValidationError("Type delete to confirm; nothing was deleted.")
        return "delete"


class RollbackForm(forms.Form):
    note = paragraph("Note", "Why it goes back. Optional, kept in the history.")


class ReviewForm(forms.Form):
    """A comment and one of two buttons."""

    comment = paragraph("Comment", "Explain your decision; a rejection needs it.")


class CommentForm(forms.Form):
    text = paragraph("Comment", required=True)


class CheckList(forms.CharField):
    """A JSON list of checks that a person types; empty is []."""

    widget = forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "form-control code-input"})

    def clean(self, value: Any) -> Any:
        text = super().clean(value).strip()
        if not text:
            return []
        try:
            return json.loads(text)
        except RecursionError:
            raise forms.ValidationError("This is nested too deeply.") from None
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from None

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


class Names(forms.CharField):
    """Names with commas between them, as a list."""

    def clean(self, value: Any) -> Any:
        return [name.strip() for name in super().clean(value).split(",") if name.strip()]

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else ", ".join(value or ())


class PolicyForm(forms.Form):
    stage = forms.ChoiceField(label="Stage", choices=Stage.choices, initial=Stage.PRODUCTION)
    model_name = forms.CharField(
        label="Model",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"list": "models"}),
        help_text="Empty for all models of the project.",
    )
    approvals_needed = forms.IntegerField(
        label="Approvals needed", min_value=1, max_value=MOST_APPROVALS, initial=1
    )
    reviewers = Names(
        label="Reviewers",
        required=False,
        max_length=5000,
        help_text="Members' names with commas between them. Without anybody here and below, maintainers and "
        "admins review.",
    )
    groups = Names(label="Groups", required=False, max_length=5000)
    own_review = forms.BooleanField(label=capfirst(OWN_REVIEW), required=False)
    bypass = forms.BooleanField(label="A maintainer may bypass it, with a reason", required=False)
    expires_days = forms.IntegerField(
        label="Expires after", min_value=1, max_value=MOST_DAYS, initial=14, help_text="Days."
    )
    checks = CheckList(
        label="Checks",
        required=False,
        max_length=20_000,
        help_text="What must hold before anybody is asked, as a JSON list.",
    )

    first = ("stage", "model_name", "approvals_needed", "reviewers")

    def main_fields(self) -> list[forms.BoundField]:
        return [field for field in self if field.name in self.first]

    def other_fields(self) -> list[forms.BoundField]:
        return [field for field in self if field.name not in self.first]

    def others_matter(self) -> bool:
        """Whether the folded part must stand open."""
        return any(field.errors for field in self.other_fields())


class RulesForm(forms.Form):
    one_production = forms.BooleanField(
        label="At most one version of a model stands in Production", required=False
    )
    archive_previous = forms.BooleanField(
        label="What stood in Production is archived when another version arrives", required=False
    )


class MomentForm(forms.Form):
    """A moment, in UTC."""

    as_of = forms.DateTimeField(
        label="As of (UTC)", widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"})
    )
