"""Where an endpoint's requests go now."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from common.checks import shorten
from common.errors import Missing
from deployments.choices import EndpointState, RevisionState, Wanted
from deployments.errors import NotLive
from gateway.cache import Cache
from gateway.database import Away, Database

RETRY_AFTER = 2
COMES_BACK = (RevisionState.ASLEEP, RevisionState.PENDING, RevisionState.DEPLOYING)
BEING_DEPLOYED = (
    EndpointState.PENDING,
    EndpointState.DEPLOYING,
    EndpointState.UPDATING,
    EndpointState.DEGRADED,
    EndpointState.ACTIVE,
)
LOOK_AGAIN_SECONDS = 0.5
REVISION = "r{0}.id, v{0}.number, r{0}.state, r{0}.min_replicas, r{0}.address, r{0}.serving_key"
READ = f"""
    SELECT d.id, m.name, d.wanted, d.state, d.reason, d.canary_percent, d.rate_limit, d.timeout_seconds,
           d.max_body_bytes, {REVISION.format(1)}, {REVISION.format(2)}, {REVISION.format(3)}
    FROM deployments_deployment d
    JOIN accounts_project p ON p.id = d.project_id
    JOIN registry_registeredmodel m ON m.id = d.model_id
    LEFT JOIN deployments_deploymentrevision r1 ON r1.id = d.serving_revision_id
    LEFT JOIN registry_modelversion v1 ON v1.id = r1.version_id
    LEFT JOIN deployments_deploymentrevision r2 ON r2.id = d.wanted_revision_id
    LEFT JOIN registry_modelversion v2 ON v2.id = r2.version_id
    LEFT JOIN deployments_deploymentrevision r3 ON r3.id = d.shadow_revision_id
    LEFT JOIN registry_modelversion v3 ON v3.id = r3.version_id
    WHERE p.slug = %s AND d.endpoint_name = %s AND d.wanted <> 'Deleted'
"""  # noqa: S608 our own columns
# A worker is to look at once, and an endpoint that is asked again and again is not woken more than once a second.
WAKE = """
    WITH asked AS (
        UPDATE deployments_deployment SET wake_asked_at = now()
        WHERE id = %(id)s AND (wake_asked_at IS NULL OR wake_asked_at < now() - interval '1 second')
        RETURNING id
    )
    INSERT INTO common_job (name, kwargs, key, state, run_after, fence, attempts, error, created_at)
    SELECT 'deployments.reconcile', jsonb_build_object('deployment_id', id), 'reconcile:' || id, 'queued', now(),
           0, 0, '', now()
    FROM asked
    ON CONFLICT (key) WHERE state = 'queued' AND NOT key = ''
    DO UPDATE SET run_after = LEAST(common_job.run_after, EXCLUDED.run_after)
"""


@dataclass(frozen=True, slots=True)
class Backend:
    """One revision as it can be asked."""

    revision_id: int
    version: int
    state: str
    min_replicas: int
    url: str
    key: str

    @property
    def healthy(self) -> bool:
        return bool(self.url) and self.state == RevisionState.ACTIVE


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint: its limits, and the revisions that share its requests."""

    slug: str
    endpoint_name: str
    deployment_id: int
    model_name: str
    wanted: str
    state: str
    reason: str
    canary_percent: int
    rate_limit: int | None
    timeout_seconds: int
    max_body_bytes: int | None
    serving: Backend | None
    coming: Backend | None
    shadow: Backend | None

    @property
    def asleep(self) -> bool:
        """Whether requests wait: it was scaled to zero, gave way to what replaces it, or is on its way back."""
        main = self.serving or self.coming
        if self.wanted != Wanted.RUNNING or main is None or main.url:
            return False
        return main.state == RevisionState.ASLEEP or (main.min_replicas == 0 and main.state in COMES_BACK)

    def check_sleeper(self, version: str) -> None:
        """Whether a request would wake it, and find this version if one is asked for.

        NotLive while it is on its way back already, or for the first time, or gave way; Missing for another version.
        """
        sleeper = self.serving
        if (
            not self.asleep
            or sleeper is None
            or sleeper.state != RevisionState.ASLEEP
            or sleeper.min_replicas
        ):
            raise self.not_live()
        if version:
            self._among([sleeper], version)

    def pick(self, version: str = "") -> Backend:
        """What answers the next request, of this version if one is asked for.

        NotLive with the reason when nothing does, Missing when nothing does by this version.
        """
        if version:
            return self._by(version)
        if self.canary_percent and self._canary and random.random() * 100 < self.canary_percent:
            return self._canary
        return self.main()

    def main(self) -> Backend:
        """What serves, leaving canaries out."""
        if self.wanted == Wanted.RUNNING and self.serving is not None and self.serving.url:
            return self.serving
        raise self.not_live()

    def _by(self, version: str) -> Backend:
        return self._among([each for each in (self.main(), self._canary) if each], version)

    def _among(self, answering: Sequence[Backend], version: str) -> Backend:
        for backend in answering:
            if str(backend.version) == version:
                return backend
        numbers = " and ".join(str(each.version) for each in answering)
        raise Missing(
            f"Version {shorten(version)} does not answer at {self.endpoint_name}, which serves {numbers}.",
            "Leave versions/… out: whichever version serves answers then.",
            code="version_not_served",
        )

    @property
    def _canary(self) -> Backend | None:
        coming = self.coming
        if coming is None or not coming.healthy or self.serving is None or self.wanted != Wanted.RUNNING:
            return None
        return None if coming.revision_id == self.serving.revision_id else coming

    def not_live(self) -> NotLive:
        """Why nothing answers."""
        waits = self.state in BEING_DEPLOYED or self.asleep
        return NotLive(
            self.reason
            or f"The endpoint {self.endpoint_name} is {EndpointState(self.state)}: it does not answer requests.",
            "Try again in a few seconds." if waits else "Deploy it again first.",
            retry_after=RETRY_AFTER if waits else None,
        )


class Routes:
    """Endpoints by project and name, kept until the database says that they changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: Cache[tuple[str, str], Route] = Cache(database, self._read)
        self._news: dict[int, asyncio.Event] = {}

    def known(self, slug: str, endpoint_name: str) -> Route | None:
        """What is surely still true, without a read."""
        return self._cache.known((slug, endpoint_name))

    async def get(self, slug: str, endpoint_name: str) -> Route | None:
        """The endpoint's route; None when there is no such endpoint. Raises Away."""
        return await self._cache.get((slug, endpoint_name))

    async def again(self, route: Route) -> Route:
        """The route as it is now; as it was when the database is away, or the endpoint is no more."""
        try:
            found = await self._cache.read((route.slug, route.endpoint_name))
        except Away:
            found = None
        return found or route

    async def awake(self, route: Route) -> Route:
        """Wakes a sleeping endpoint and waits until it answers, or for as long as its requests may take."""
        deadline = monotonic() + route.timeout_seconds
        news = self._news.setdefault(route.deployment_id, asyncio.Event())
        while route.asleep:
            left = deadline - monotonic()
            if left <= 0:
                raise route.not_live()
            news.clear()
            await self._wake(route)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), min(left, LOOK_AGAIN_SECONDS))
            route = await self.again(route)
        return route

    def changed(self, payload: str) -> None:
        """The database's news: the id of the endpoint that changed."""
        self._cache.forget(lambda _, route: str(route.deployment_id) == payload)
        news = self._news.get(int(payload)) if payload.isdigit() else None
        if news is not None:
            news.set()

    async def _wake(self, route: Route) -> None:
        main = route.serving or route.coming
        if main is not None and main.state == RevisionState.ASLEEP:
            with contextlib.suppress(Away):
                await self._database.rows(WAKE, {"id": route.deployment_id})

    async def _read(self, key: tuple[str, str]) -> Route | None:
        found = await self._database.rows(READ, key)
        if not found:
            return None
        row = found[0]
        backends = [_backend(row[at : at + 6]) for at in (9, 15, 21)]
        return Route(*key, *row[:9], *backends)


def _backend(columns: tuple[Any, ...]) -> Backend | None:
    return None if columns[0] is None else Backend(*columns)
