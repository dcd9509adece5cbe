"""Addresses of pages as people and programs outside see them."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse


def absolute(name: str, *args: object) -> str:
    """The whole address of a page of the portal: `absolute("registry:model", "default", "iris")`."""
    return str(settings.PUBLIC_URL) + reverse(name, args=args)
