"""How many requests a second an endpoint takes."""

from __future__ import annotations

import math
from time import monotonic

from deployments.errors import TooMany
from gateway.routes import Route

MOST_ENDPOINTS = 10_000


class Limits:
    """A bucket of tokens for each endpoint: a second's worth may come at once. Each process has its share."""

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._buckets: dict[int, tuple[float, float]] = {}

    def check(self, route: Route) -> None:
        """Takes one token of a limited endpoint; TooMany says when there will be one."""
        if route.rate_limit is None:
            return
        rate = route.rate_limit / self._processes
        most = max(1.0, rate)
        now = monotonic()
        left, at = self._buckets.get(route.deployment_id, (most, now))
        left = min(most, left + (now - at) * rate)
        if len(self._buckets) >= MOST_ENDPOINTS:
            self._buckets.clear()
        if left < 1:
            self._buckets[route.deployment_id] = (left, now)
            raise TooMany(
                f"{route.endpoint_name} takes {route.rate_limit} requests a second.",
                "Ask more slowly, or send more rows in each request.",
                retry_after=max(1, math.ceil((1 - left) / rate)) if rate else 60,
            )
        self._buckets[route.deployment_id] = (left - 1, now)
