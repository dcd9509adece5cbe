"""Engines run serving processes; deployments say which are wanted."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from django.conf import settings
from django.urls import reverse

from cluster.dashboard import Dashboard
from deployments.engines.base import Engine
from deployments.engines.local import LocalEngine
from deployments.engines.ray import RayEngine
from deployments.wishes import MOST_BODY_BYTES


def engine_for(name: str) -> Engine:
    """The engine of this name, "local" or "ray"; "" is the one that the settings name."""
    if (name or settings.SERVING_ENGINE) == "ray":
        return _ray_engine(
            settings.RAY_ADDRESS,
            settings.RAY_TOKEN,
            settings.RAY_SERVE_URL,
            settings.RAY_MODEL_FILES,
            settings.RAY_PREPARE_MINUTES,
        )
    return _local_engine(settings.SERVING_ENGINE_URL, settings.SERVING_ENGINE_TOKEN)


@lru_cache(maxsize=8)
def _local_engine(url: str, token: str) -> Engine:
    return LocalEngine(url, token)


@lru_cache(maxsize=8)
def _ray_engine(address: str, token: str, serve_url: str, model_files: str, minutes: int) -> Engine:
    files_url = _files_url if model_files == "download" else None
    dashboard, longest = Dashboard(address, token), timedelta(minutes=minutes)
    return RayEngine(dashboard, serve_url, files_url, MOST_BODY_BYTES, longest)


def _files_url(service_id: str) -> str:
    return str(settings.PUBLIC_URL) + reverse("service_files", args=[service_id])
