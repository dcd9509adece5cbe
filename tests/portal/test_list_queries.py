"""A list page asks the database as often for 200 rows as for 10, and at most twelve times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urljoin

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.choices import Notice
from accounts.groups import set_group
from accounts.models import Invitation, Membership, Notification, Project, ProjectGroup, Webhook
from accounts.services import create_token
from approvals.models import ApprovalPolicy
from deployments.models import Deployment, DeploymentRevision
from registry.models import ModelVersion, Protection, RegisteredModel
from scheduling import services as schedule_verbs
from scheduling.models import Schedule, TrainingCode
from tests.factories import Person, make_person, make_project, make_run, make_user, make_version
from tests.scheduling.factories import make_code
from tracking.models import Dataset, Experiment, Run

pytestmark = pytest.mark.django_db
MOST = 12


def models(ann: Person, count: int) -> None:
    RegisteredModel.objects.bulk_create(
        RegisteredModel(project=ann.project, name=f"m{n}", tags=["a", "b"], created_by=ann.user)
        for n in range(RegisteredModel.objects.count(), count)
    )


def versions(ann: Person, count: int) -> None:
    first = ModelVersion.objects.select_related("model").first() or make_version(ann, "iris")
    kept = {"model": first.model, "manifest": first.manifest, "created_by": ann.user}
    ModelVersion.objects.bulk_create(
        ModelVersion(**kept, number=n, source_run=first.source_run, status="Ready")
        for n in range(ModelVersion.objects.count() + 1, count + 1)
    )


def endpoints(ann: Person, count: int) -> None:
    version = ModelVersion.objects.first() or make_version(ann, "iris")
    for n in range(Deployment.objects.count(), count):
        deployment = Deployment.objects.create(
            project=ann.project, model=version.model, endpoint_name=f"e{n}", created_by=ann.user
        )
        deployment.wanted_revision = deployment.serving_revision = DeploymentRevision.objects.create(
            deployment=deployment, number=1, version=version, created_by=ann.user, service_id=f"s{n}"
        )
        deployment.save()


def experiments(ann: Person, count: int) -> None:
    run = Run.objects.first() or make_run(ann)
    Experiment.objects.bulk_create(
        Experiment(project=ann.project, name=f"e{n}", public_id=f"exp-{n}", created_by=run.created_by)
        for n in range(Experiment.objects.count(), count)
    )


def datasets(ann: Person, count: int) -> None:
    Dataset.objects.bulk_create(
        Dataset(project=ann.project, name=f"d{n}") for n in range(Dataset.objects.count(), count)
    )


def schedules(ann: Person, count: int) -> None:
    run = Run.objects.select_related("experiment").first() or make_run(ann)
    if not Run.objects.exclude(pk=run.pk).exists():
        make_code(ann, "true", experiment=run.experiment.public_id)

    for n in range(Schedule.objects.count(), count):
        schedule_verbs.create_schedule(
            actor=ann.actor,
            project=ann.project,
            name=f"s{n}",
            experiment_id=run.experiment.public_id,
            cron="0 3 * * *",
        )


def members(ann: Person, count: int) -> None:
    for _ in range(Membership.objects.count(), count):
        Membership.objects.create(project=ann.project, user=make_user(), role="viewer")


def tokens(ann: Person, count: int) -> None:
    for n in range(count):
        create_token(actor=ann.actor, name=f"t{n}", scopes=["read"])


def projects(ann: Person, count: int) -> None:
    made = Project.objects.bulk_create(
        Project(slug=f"p{n}", name=f"P{n}") for n in range(Project.objects.count(), count)
    )
    Membership.objects.bulk_create(Membership(project=each, user=ann.user, role="viewer") for each in made)


def hooks(ann: Person, count: int) -> None:
    Webhook.objects.bulk_create(
        Webhook(
            project=ann.project,
            public_id=f"hook-{n}",
            name=f"h{n}",
            url="https://example.com/",
            created_by=ann.user,
        )
        for n in range(Webhook.objects.count(), count)
    )


def protections(ann: Person, count: int) -> None:
    Protection.objects.bulk_create(
        Protection(project=ann.project, kind="alias", name=f"a{n}", roles=["admin"], created_by=ann.user)
        for n in range(Protection.objects.count(), count)
    )


def groups(ann: Person, count: int) -> None:
    for n in range(ProjectGroup.objects.count(), count):
        set_group(actor=ann.actor, project=ann.project, name=f"g{n}", members=[ann.user.username])


def invitations(ann: Person, count: int) -> None:
    Invitation.objects.bulk_create(
        Invitation(
            project=ann.project,
            email=f"p{n}@example.com",
            role="viewer",
            created_by=ann.user,
            expires_at=timezone.now() + timedelta(days=7),
        )
        for n in range(Invitation.objects.count(), count)
    )


def notifications(ann: Person, count: int) -> None:
    Notification.objects.bulk_create(
        Notification(user=ann.user, project=ann.project, kind=Notice.ENDPOINT_FAILED, text=f"n{n}", path="/")
        for n in range(Notification.objects.count(), count)
    )


def policies(ann: Person, count: int) -> None:
    models(ann, count)
    for model in RegisteredModel.objects.filter(approval_policies=None).order_by("pk")[: count - 1]:
        ApprovalPolicy.objects.create(
            project=ann.project, model=model, stage="Production", created_by=ann.user
        ).reviewers.add(ann.user)


def codes(ann: Person, count: int) -> None:
    experiment = Experiment.objects.get(public_id="exp-1") if Experiment.objects.count() > 1 else None
    if experiment is None:
        experiments(ann, 3)
        experiment = Experiment.objects.get(public_id="exp-1")
    TrainingCode.objects.bulk_create(
        TrainingCode(
            experiment=experiment,
            number=n,
            state="Failed",
            git_url="https://example.com/a.git",
            git_commit="0" * 40,
            command=["python", "train.py"],
            created_by=ann.user,
        )
        for n in range(TrainingCode.objects.count() + 1, count + 1)
    )


FILLED: dict[str, Callable[[Person, int], None]] = {
    "models/": models,
    "versions/": versions,
    "models/iris/": versions,
    "deployments/": endpoints,
    "experiments/": experiments,
    "datasets/": datasets,
    "schedules/": schedules,
    "members/": members,
    "audit/": tokens,
    "webhooks/": hooks,
    "protections/": protections,
    "groups/": groups,
    "invitations/": invitations,
    "notifications/": notifications,
    "approval-policies/": policies,
    "experiments/exp-1/training-code/": codes,
    "/projects/": projects,
    "/settings/tokens/": tokens,
    "/settings/tokens/?ordering=project": tokens,
}


def asked(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(address)
    assert answer.status_code == 200, answer.content
    return [query["sql"] for query in queries]


@pytest.mark.parametrize("page", FILLED)
def test_a_list_costs_the_same_at_10_and_at_200_rows(page: str) -> None:
    ann = make_person(make_project("alpha"))
    make_version(ann, "iris")
    client = Client()
    client.force_login(ann.user)
    address = urljoin("/projects/alpha/", page)
    FILLED[page](ann, 10)
    client.get(address)
    few = asked(client, address)
    FILLED[page](ann, 200)
    many = asked(client, address)
    assert len(many) == len(few), "\n".join(many)
    assert len(many) <= MOST, "\n".join(many)
