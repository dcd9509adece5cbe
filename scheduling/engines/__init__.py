"""Training engines: where executions run."""

from __future__ import annotations

from django.conf import settings

from cluster.dashboard import Dashboard
from scheduling.engines.base import TrainingEngine
from scheduling.engines.local import LocalTraining
from scheduling.engines.ray import RayTraining


def current_engine() -> TrainingEngine:
    """The engine that the settings name."""
    return engine_for(settings.TRAINING_ENGINE)


def engine_for(name: str) -> TrainingEngine:
    """The engine of this name: "ray" a cluster, "local" (or "", of executions from before) this machine."""
    if name == "ray":
        return RayTraining(Dashboard(settings.RAY_ADDRESS, settings.RAY_TOKEN))
    return LocalTraining(settings.TRAINING_DIR)
