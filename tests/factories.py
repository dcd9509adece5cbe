"""Plain functions that make things by calling the verbs, for tests."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery import current_app
from django.conf import settings
from django.test import Client
from rest_framework.test import APIClient

from accounts.choices import Door, Role, Scope
from accounts.models import Membership, Project, User
from accounts.permissions import Actor
from accounts.services import create_token
from artifacts import services as artifact_verbs
from common import jobs
from common.models import Job, JobState
from registry import services as registry_verbs
from registry.choices import VersionStatus
from registry.models import ModelVersion
from tracking import services as tracking_verbs
from tracking.models import Run

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Person:
    """A member with an API client that carries a token of theirs."""

    user: User
    project: Project
    token: str
    api: APIClient

    @property
    def actor(self) -> Actor:
        return Actor(user=self.user, door=Door.REST)

    @property
    def base(self) -> str:
        return f"/api/v1/projects/{self.project.slug}"


def make_user(username: str = "") -> User:
    """A user who cannot sign in by password: hashing one for each test would take longer than the test."""
    return User.objects.create(username=username or f"user{next(_numbers)}", password="!")


def make_project(slug: str = "") -> Project:
    slug = slug or f"project-{next(_numbers)}"
    return Project.objects.create(slug=slug, name=slug.title())


def make_person(
    project: Project,
    role: str | None = Role.ADMIN,
    scopes: Sequence[str] = (Scope.ADMIN,),
    username: str = "",
) -> Person:
    """A user with this role in the project (None: a stranger) and a token with these scopes."""
    user = make_user(username)
    if role is not None:
        Membership.objects.create(project=project, user=user, role=role)
    _, token = create_token(actor=Actor(user=user, door=Door.COMMAND), name="test", scopes=scopes)
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return Person(user, project, token, api)


def browser(person: Person, **settings: Any) -> Client:
    """The portal, with `person` signed in; `settings` are those of Django's test client."""
    client = Client(**settings)
    client.force_login(person.user)
    return client


def make_run(
    person: Person, files: Mapping[str, bytes] | None = None, experiment: str = "exp", **metrics: float
) -> Run:
    """A completed run of `person` with these files and final metric values."""
    run = tracking_verbs.start_run(actor=person.actor, project=person.project, experiment_id=experiment)
    if metrics:
        series = [{"key": key, "values": [value]} for key, value in metrics.items()]
        tracking_verbs.log_metrics(
            actor=person.actor, project=person.project, run_id=run.public_id, series=series
        )
    if files:
        add_files(person, run, files)
    tracking_verbs.end_run(
        actor=person.actor, project=person.project, run_id=run.public_id, status="Completed"
    )
    return run


def add_files(person: Person, run: Run, files: Mapping[str, bytes]) -> None:
    entries = []
    for path, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        artifact_verbs.store_blob(
            actor=person.actor,
            project=person.project,
            sha256=digest,
            stream=io.BytesIO(content),
            size=len(content),
        )
        entries.append({"path": path, "sha256": digest})
    tracking_verbs.commit_files(
        actor=person.actor, project=person.project, run_id=run.public_id, files=entries
    )


def make_version(
    person: Person,
    model_name: str = "iris",
    files: Mapping[str, bytes] | None = None,
    ready: bool = True,
    **metrics: float,
) -> ModelVersion:
    """A version of `model_name` made from a run of its own; Ready unless asked otherwise."""
    run = make_run(person, files or {"model/weights.txt": b"1 2 3"}, **metrics)
    path = "model" if files is None else sorted(files)[0].split("/")[0]
    version = registry_verbs.create_version(
        actor=person.actor,
        project=person.project,
        model_name=model_name,
        source_run_id=run.public_id,
        artifact_path=path,
    )
    if ready:
        ModelVersion.objects.filter(pk=version.pk).update(status=VersionStatus.READY)
        version.refresh_from_db()
    return version


def run_jobs(limit: int = 100) -> int:
    """Runs every due job as a worker would, until none is left; returns how many."""
    current_app.loader.import_default_modules()
    for count in range(limit):
        row = Job.objects.filter(state=JobState.QUEUED).order_by("run_after").first()
        if row is None:
            return count
        Job.objects.filter(pk=row.pk).update(run_after=row.created_at)
        jobs.run(row.pk)
    raise AssertionError(f"More than {limit} jobs in {settings.DATABASES['default']['NAME']}.")


def send_json(person: Person, method: str, path: str, body: object) -> Any:
    """Sends `body` as ASCII JSON, in which lone surrogates travel too."""
    return person.api.generic(method.upper(), path, json.dumps(body), content_type="application/json")
