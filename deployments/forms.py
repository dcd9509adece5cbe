"""The forms of endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from django import forms
from django.conf import settings

from deployments.choices import EngineName
from deployments.models import DeploymentRevision
from deployments.quarantine import KEEP, UNDEPLOY
from deployments.services import GpuType
from deployments.wishes import BAKE_SECONDS, MAX_ERROR_RATE, MOST_BODY_BYTES, MOST_REPLICAS, Wishes, wish_of
from registry.quarantine import REASON_LENGTH

AT_ONCE, IN_STEPS, REPLACE = "at-once", "steps", "replace"
ROLLOUTS = [
    (AT_ONCE, "At once, when it is healthy"),
    (IN_STEPS, "In steps (canary)"),
    (REPLACE, "One after the other: what serves ends first"),
]
SCALE = ("gpu_type", "min_replicas", "max_replicas", "idle_seconds")
BATCHING = ("max_batch_size", "max_delay_ms")
ROLLOUT = ("rollout", "steps", "bake_seconds", "max_error_percent", "max_p95_ms")
LIMITS = ("rate_limit", "timeout_seconds", "max_body_bytes")
MORE = ("description", "engine", *LIMITS)


class Percentages(forms.CharField):
    """`10, 50` as [10, 50]."""

    def clean(self, value: Any) -> list[int]:
        text = super().clean(value)
        try:
            return [int(part.strip().removesuffix("%")) for part in text.split(",") if part.strip()]
        except ValueError:
            raise forms.ValidationError(
                f"{text[:40]!r} are no percentages; write them as 10, 50 for example."
            ) from None


class RunsWith(forms.Form):
    """What a revision runs with and how the traffic comes to it."""

    version = forms.ChoiceField(
        label="Version", help_text="An endpoint that follows an alias moves when the alias does."
    )
    gpu_type = forms.ChoiceField(label="GPU type", required=False)
    min_replicas = forms.IntegerField(
        label="Min replicas",
        min_value=0,
        max_value=MOST_REPLICAS,
        help_text="0 lets it sleep when nobody asks.",
    )
    max_replicas = forms.IntegerField(
        label="Max replicas", min_value=1, max_value=MOST_REPLICAS, help_text="Load decides between the two."
    )
    idle_seconds = forms.IntegerField(label="Sleep after seconds without a request", required=False)
    rollout = forms.ChoiceField(label="Rollout", choices=ROLLOUTS, required=False)
    steps = Percentages(label="Steps in percent", required=False, help_text="For example 10, 50.")
    bake_seconds = forms.IntegerField(label="Seconds at each step", required=False, min_value=1)
    max_error_percent = forms.FloatField(
        label="Roll back above % errors", required=False, min_value=0, max_value=100
    )
    max_p95_ms = forms.FloatField(label="Roll back above p95 ms", required=False, min_value=1)
    max_batch_size = forms.IntegerField(
        label="Most rows in a batch", required=False, min_value=1, help_text="1 joins no requests."
    )
    max_delay_ms = forms.IntegerField(label="Longest wait for others, ms", required=False, min_value=0)
    description = forms.CharField(
        label="Description", required=False, widget=forms.Textarea(attrs={"rows": 2}), max_length=5000
    )
    engine = forms.ChoiceField(label="Engine", required=False)
    rate_limit = forms.IntegerField(
        label="Requests per second at most", required=False, min_value=0, help_text="Empty: no limit."
    )
    timeout_seconds = forms.IntegerField(
        label="Time-out in seconds", required=False, min_value=1, max_value=3600, help_text="60 at first."
    )
    max_body_bytes = forms.IntegerField(
        label="Largest request in bytes",
        required=False,
        min_value=0,
        help_text=f"Empty: the gateway's own limit. A process takes {MOST_BODY_BYTES} at most.",
    )

    def __init__(
        self, *args: Any, gpus: Sequence[GpuType], versions: Sequence[tuple[str, str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["gpu_type"].choices = [("", "None (CPU)"), *[(gpu.name, _named(gpu)) for gpu in gpus]]  # type: ignore[attr-defined]
        self.fields["version"].choices = list(versions)  # type: ignore[attr-defined]
        if settings.SERVING_ENGINE_URL and settings.RAY_ADDRESS:
            usual = EngineName(settings.SERVING_ENGINE).label
            self.fields["engine"].choices = [("", f"As the platform is set: {usual}"), *EngineName.choices]  # type: ignore[attr-defined]
        else:
            del self.fields["engine"]

    def group(self, *names: str) -> list[forms.BoundField]:
        return [self[name] for name in names]

    def scale(self) -> list[forms.BoundField]:
        return self.group(*SCALE)

    def moving(self) -> list[forms.BoundField]:
        return self.group(*ROLLOUT)

    def batching(self) -> list[forms.BoundField]:
        return self.group(*BATCHING)

    def more(self) -> list[forms.BoundField]:
        return self.group(*[name for name in MORE if name in self.fields])

    def others_matter(self) -> bool:
        """Whether the folded part must stand open."""
        return any(field.errors for field in self.more())

    def wishes(self) -> Wishes:
        """What was typed, as the verbs take it; what was left empty has its default."""
        data = self.cleaned_data
        found: dict[str, Any] = {name: data[name] for name in (*SCALE, *BATCHING) if data[name] is not None}
        found["rollout"] = {"replace": True} if data["rollout"] == REPLACE else {}
        if data["rollout"] == IN_STEPS:
            percent = data["max_error_percent"]
            found["rollout"] = {
                "steps": data["steps"],
                "bake_seconds": data["bake_seconds"] or BAKE_SECONDS,
                "max_error_rate": MAX_ERROR_RATE if percent is None else percent / 100,
                "max_p95_ms": data["max_p95_ms"],
            }
        return found  # type: ignore[return-value]


class DeployForm(RunsWith):
    """**Deploy**."""

    endpoint_name = forms.CharField(
        label="Endpoint name",
        max_length=63,
        help_text="Lower-case letters, digits and hyphens; part of the URL.",
    )

    def wishes(self) -> Wishes:
        # An endpoint that is there already keeps what was left empty.
        named = {name: self.cleaned_data.get(name) for name in ("engine", *LIMITS)}
        given = {name: value for name, value in named.items() if value not in (None, "")}
        return {**super().wishes(), **given}  # type: ignore[typeddict-item]


class ChangeForm(RunsWith):
    """**Change** of an endpoint."""

    def wishes(self) -> Wishes:
        given = {name: self.cleaned_data[name] for name in LIMITS}
        if "engine" in self.changed_data:
            given["engine"] = self.cleaned_data["engine"]
        return {**super().wishes(), **given}  # type: ignore[typeddict-item]


def starting_with(revision: DeploymentRevision, rollout: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a form begins with: as a revision has them, and how the next change moves the traffic."""
    wish = wish_of(revision)
    percent = rollout.get("max_error_rate", MAX_ERROR_RATE) * 100
    return {
        **{name: getattr(wish, name) for name in (*SCALE, *BATCHING)},
        "rollout": IN_STEPS if "steps" in rollout else REPLACE if rollout else AT_ONCE,
        "steps": ", ".join(str(step) for step in rollout.get("steps", [10, 50])),
        "bake_seconds": rollout.get("bake_seconds", BAKE_SECONDS),
        "max_error_percent": round(percent, 3),
        "max_p95_ms": rollout.get("max_p95_ms"),
    }


def _named(gpu: GpuType) -> str:
    if gpu.is_there is None:
        return gpu.name
    return f"{gpu.name} ({'there' if gpu.is_there else 'not there now'})"


DECISIONS = ((KEEP, "Go on serving"), (UNDEPLOY, "Undeploy them"))


class QuarantineForm(forms.Form):
    """Why versions are quarantined, and what becomes of the endpoints that serve one of them."""

    reason = forms.CharField(
        label="Reason", max_length=REASON_LENGTH, widget=forms.Textarea(attrs={"rows": 3})
    )
    endpoints = forms.ChoiceField(
        label="Endpoints that serve one",
        required=False,
        choices=[("", "Choose, if there are any"), *DECISIONS],
    )
    confirm = forms.CharField(
        label="Type undeploy to confirm",
        required=False,
        max_length=20,
        help_text="Their URLs answer nobody from then on.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def ask_of_one(self, *, serves: bool) -> None:
        """Of one version it is known whether endpoints serve it: asks about them, or leaves them out."""
        if not serves:
            del self.fields["endpoints"], self.fields["confirm"]
            return
        endpoints = cast(forms.ChoiceField, self.fields["endpoints"])
        endpoints.label = "Endpoints that serve it"
        endpoints.choices = [("", "Choose what becomes of them"), *DECISIONS]

    def clean_endpoints(self) -> str | None:
        return self.cleaned_data["endpoints"] or None

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.pop("confirm", "") != UNDEPLOY and data.get("endpoints") == UNDEPLOY:
            self.add_error("confirm", "Type undeploy to confirm; nothing was quarantined or undeployed.")
        return data
