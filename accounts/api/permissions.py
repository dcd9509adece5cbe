"""Deny by default: nobody gets past the base view without a user."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from common.errors import Unauthenticated


class SignedIn(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            raise Unauthenticated(
                "This needs an API token.", "Send it in the header Authorization: Bearer podstack_…"
            )
        return True
