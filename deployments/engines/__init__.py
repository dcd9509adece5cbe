"""Engines run serving processes; deployments say which are wanted."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from deployments.engines.base import Engine
from deployments.engines.local import LocalEngine


def current_engine() -> Engine:
    """The engine that the settings name."""
    return _local_engine(settings.SERVING_ENGINE_URL, settings.SERVING_ENGINE_TOKEN)


@lru_cache(maxsize=8)
def _local_engine(url: str, token: str) -> Engine:
    return LocalEngine(url, token)
