"""The form that asks for a deployment."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings


class DeployForm(forms.Form):
    endpoint_name = forms.CharField(
        label="Endpoint name",
        max_length=63,
        help_text="Lower-case letters, digits and hyphens; part of the URL.",
    )
    gpu_type = forms.ChoiceField(label="GPU type", required=False)
    min_replicas = forms.IntegerField(label="Min replicas", initial=1, min_value=1, max_value=32)
    max_replicas = forms.IntegerField(label="Max replicas", initial=1, min_value=1, max_value=32)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "None (CPU)"), *[(name, name) for name in settings.GPU_TYPES]]
        self.fields["gpu_type"] = forms.ChoiceField(label="GPU type", required=False, choices=choices)
