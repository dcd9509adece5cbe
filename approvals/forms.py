"""The form that asks for a stage change."""

from __future__ import annotations

from django import forms

from registry.choices import Stage


class ChangeStageForm(forms.Form):
    stage = forms.ChoiceField(label="New stage", choices=Stage.choices, widget=forms.RadioSelect)
    note = forms.CharField(
        label="Transition note",
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Why the stage changes. Optional, kept in the history.",
    )
