"""A metric over all versions of a model."""

from __future__ import annotations

from typing import Any

from common.checks import plain_number
from registry.choices import MetricKind
from registry.models import RegisteredModel, VersionMetric
from tracking.thinning import kept

MOST_POINTS = 1000


def trend_of(model: RegisteredModel, key: str) -> dict[str, Any]:
    """The training metric `key` by version number, as the chart draws it; thinned so that no peak is lost."""
    rows = VersionMetric.objects.filter(
        version__model=model, version__deleted_at=None, kind=MetricKind.TRAINING, key=key
    )
    points = list(rows.order_by("version__number").values_list("version__number", "value"))
    numbers, values = [number for number, _ in points], [value for _, value in points]
    chosen = kept(numbers, values, MOST_POINTS)
    return {
        "key": key,
        "axis": "version",
        "steps": [numbers[i] for i in chosen],
        "values": [plain_number(values[i]) for i in chosen],
    }
