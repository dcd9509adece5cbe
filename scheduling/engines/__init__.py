"""Training engines: where executions run."""

from __future__ import annotations

from django.conf import settings

from scheduling.engines.base import TrainingEngine
from scheduling.engines.local import LocalTraining


def current_engine() -> TrainingEngine:
    """The engine that the settings name: processes of this machine."""
    return LocalTraining(settings.TRAINING_DIR)
