"""MLOpsClient: all calls of the SDK in one object, grouped by noun in the modules beside this one."""

from __future__ import annotations

from functools import cached_property
from typing import NoReturn

from podstack.approvals import ApprovalCalls
from podstack.bundles import BundleCalls
from podstack.care import CareCalls
from podstack.config import load_settings
from podstack.deployments import DeploymentCalls
from podstack.errors import ValidationError
from podstack.experiments import ExperimentCalls
from podstack.http import Http, Retries
from podstack.lineage import LineageCalls
from podstack.models import Me
from podstack.notifications import NotificationCalls
from podstack.people import PeopleCalls
from podstack.predicting import PredictingCalls
from podstack.runs import RunCalls
from podstack.schedules import ScheduleCalls
from podstack.series import SeriesCalls
from podstack.webhooks import WebhookCalls


class MLOpsClient(
    RunCalls,
    SeriesCalls,
    BundleCalls,
    CareCalls,
    ApprovalCalls,
    ScheduleCalls,
    ExperimentCalls,
    DeploymentCalls,
    PredictingCalls,
    LineageCalls,
    NotificationCalls,
    WebhookCalls,
    PeopleCalls,
):
    """The model registry from Python.

    Each argument that is left out comes from PODSTACK_API_TOKEN, PODSTACK_API_ENDPOINT or PODSTACK_PROJECT,
    else from the profile in ~/.podstack/credentials that PODSTACK_PROFILE names (else `default`). Without a
    project anywhere, the token's own is meant. AuthenticationError when there is no token. Making a client
    sends nothing. One client may be used from several threads. `profile` overrides PODSTACK_PROFILE; `agent`
    is what the User-Agent header begins with, for programs that stand on this client.
    """

    def __init__(
        self,
        api_token: str | None = None,
        api_endpoint: str | None = None,
        project: str | None = None,
        *,
        profile: str | None = None,
        retries: Retries | None = None,
        agent: str = "",
    ) -> None:
        self.settings = load_settings(api_token, api_endpoint, project, profile=profile)
        self.http = Http(self.settings, retries, agent)

    def __repr__(self) -> str:
        return (
            f"MLOpsClient(api_endpoint={self.settings.endpoint!r}, project={self.settings.project or None!r})"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("A client is not pickled, for it holds the token: make one in each process.")

    def me(self) -> Me:
        """Whose token this is, its scopes, and the projects it reaches."""
        return Me.from_json(self.http.call("GET", "/me"))

    @property
    def project(self) -> str:
        """The slug of the project that all calls speak of."""
        return self.settings.project or self._own_project

    @cached_property
    def _own_project(self) -> str:
        me = self.me()
        if me.token and me.token.get("project"):
            return str(me.token["project"])
        slugs = [str(project["slug"]) for project in me.projects]
        if len(slugs) == 1:
            return slugs[0]
        reached = f"reaches {', '.join(slugs)}" if slugs else "reaches no project"
        raise ValidationError(
            f"There is no project to work in: the token {reached}.",
            hint="Name one with MLOpsClient(project=…) or PODSTACK_PROJECT."
            if slugs
            else "Ask an administrator to make you a member of one.",
            code="no_project",
        )
