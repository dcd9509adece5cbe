"""The operators' door: all is seen, nothing secret is, and a look again is asked for."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import AuditEntry
from common.models import Job
from deployments import rollouts
from deployments.models import Deployment, DeploymentRevision
from tests.deployments.conftest import a_quick_version, deploy
from tests.factories import Person

pytestmark = pytest.mark.django_db(transaction=True)
PAGES = "/admin/deployments"


@pytest.fixture
def operator(ada: Person) -> Client:
    ada.user.is_staff = ada.user.is_superuser = True
    ada.user.save()
    client = Client()
    client.force_login(ada.user)
    return client


def test_endpoints_revisions_and_events_are_listed_searched_and_opened(ada: Person, operator: Client) -> None:
    deploy(ada, a_quick_version(ada))
    DeploymentRevision.objects.update(serving_key="secret-of-the-process")
    deployment = Deployment.objects.get()
    for path in (
        "deployment/?q=iris&state__exact=Pending",
        f"deployment/{deployment.pk}/change/",
        f"deploymentrevision/?deployment__id__exact={deployment.pk}",
        f"deploymentrevision/{deployment.wanted_revision_id}/change/",
        f"deploymentevent/?deployment__id__exact={deployment.pk}&q=asked",
    ):
        page = operator.get(f"{PAGES}/{path}")
        assert page.status_code == 200, path
        assert b"iris-api" in page.content
        assert b"secret-of-the-process" not in page.content
    assert (
        operator.post(f"{PAGES}/deployment/{deployment.pk}/change/", {"state": "Active"}).status_code == 403
    )
    assert operator.post(f"{PAGES}/deployment/{deployment.pk}/delete/").status_code == 403


def test_an_operator_has_a_worker_look_again(ada: Person, operator: Client) -> None:
    deploy(ada, a_quick_version(ada))
    Job.objects.all().delete()
    chosen = {"action": "look_again", "_selected_action": [Deployment.objects.get().pk]}
    assert operator.post(f"{PAGES}/deployment/", chosen).status_code == 302
    assert Job.objects.get().name == "deployments.reconcile"
    assert AuditEntry.objects.filter(verb="look_again", door="admin").exists()


def test_an_operator_undeploys_deploys_again_and_ends_a_shadow(ada: Person, operator: Client) -> None:
    deploy(ada, a_quick_version(ada))
    rollouts.set_shadow(actor=ada.actor, project=ada.project, endpoint_name="iris-api", version=1)
    chosen = {"_selected_action": [Deployment.objects.get().pk]}
    for action, said, wanted in (
        ("end_shadow", b"The copies of iris-api ended.", "Running"),
        ("undeploy", b"iris-api is taken down.", "Stopped"),
        ("deploy_again", b"iris-api is deployed again.", "Running"),
    ):
        answer = operator.post(f"{PAGES}/deployment/", {"action": action, **chosen}, follow=True)
        assert said in answer.content, action
        found = Deployment.objects.get()
        assert (found.wanted, found.shadow_revision) == (wanted, None), action
    verbs = AuditEntry.objects.filter(door="admin").values_list("verb", flat=True)
    assert {"unset_shadow", "undeploy", "deploy_again"} <= set(verbs)
