"""What breaks something is not one click away: its link leads to a page that names it and asks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from accounts.invitations import invite
from accounts.models import Invitation, Webhook
from accounts.webhooks import create_webhook
from approvals.models import ApprovalRequest
from approvals.policies import set_approval_policy
from approvals.services import transition_stage
from scheduling.models import ScheduleExecution
from tests.factories import Person, make_person, make_project, make_version
from tests.scheduling.factories import make_schedule, trigger
from tracking.models import Experiment
from tracking.services import create_experiment

pytestmark = pytest.mark.django_db
# One click each: what they do is undone by another one, or breaks nothing.
LIGHT = {
    *("scheduling:run", "scheduling:resume", "scheduling:pause", "tracking:experiment_restore"),
    *("accounts:webhook_ping", "accounts:webhook_redeliver", "accounts:webhook_on", "accounts:notification"),
    *("deployments:deploy_again", "deployments:shadow", "deployments:unshadow", "deployments:try"),
    *("approvals:approve", "approvals:comment", "account_logout"),
}


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), "admin", username="ann")


def page(ann: Person, path: str) -> str:
    answer = client_of(ann).get(path)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def client_of(ann: Person) -> Client:
    client = Client()
    client.force_login(ann.user)
    return client


def asked(ann: Person, at: str, question: str) -> str:
    """The address that the page's link leads to, which asks this question and has done nothing yet."""
    found = re.search(r'href="([^"]+)" data-sure', page(ann, f"/projects/alpha/{at}"))
    assert found, at
    address = found[1].replace("&amp;", "&")
    shown = page(ann, address)
    assert f'<h1 id="asks">{question}</h1>' in shown
    assert "data-cancel>Cancel</a>" in shown
    return address


def test_only_light_acts_are_forms_on_another_page() -> None:
    forms = {
        name
        for template in Path(settings.BASE_DIR, "templates").rglob("*.html")
        for name in re.findall(r"""method="post" action="\{% url '([a-z:_]+)'""", template.read_text())
    }
    assert forms == LIGHT


def test_stop_of_an_execution_names_it(ann: Person) -> None:
    execution = trigger(ann, make_schedule(ann))
    name = execution.public_id
    address = asked(ann, f"executions/{name}/", f"Stop {name} of <bdi>{execution.schedule.name}</bdi>?")
    assert ScheduleExecution.objects.get().stop_asked_at is None
    assert client_of(ann).post(address)["Location"] == f"/projects/alpha/executions/{name}/"
    assert ScheduleExecution.objects.get().stop_asked_at is not None
    assert "act-stop" not in page(ann, f"/projects/alpha/executions/{name}/")


def test_archive_of_an_experiment_names_it(ann: Person) -> None:
    made = create_experiment(actor=ann.actor, project=ann.project, name="trees")
    address = asked(ann, f"experiments/{made.public_id}/", "Archive <bdi>trees</bdi>?")
    assert client_of(ann).post(address).status_code == 302
    assert Experiment.objects.get().archived_at is not None


def test_a_webhook_that_is_switched_off_is_named(ann: Person) -> None:
    hook = create_webhook(actor=ann.actor, project=ann.project, name="chat", url="https://example.com/x")
    address = asked(ann, f"webhooks/{hook.public_id}/", "Switch off <bdi>chat</bdi>?")
    assert client_of(ann).post(address).status_code == 302
    assert not Webhook.objects.get().is_active
    assert client_of(ann).post(f"/projects/alpha/webhooks/{hook.public_id}/on/").status_code == 302
    assert Webhook.objects.get().is_active


def test_an_invitation_that_is_withdrawn_is_named(ann: Person) -> None:
    invite(actor=ann.actor, project=ann.project, email="bob@example.com", role="viewer")
    address = asked(ann, "invitations/", "Withdraw the invitation of <bdi>bob@example.com</bdi>?")
    assert client_of(ann).post(address).status_code == 302
    assert Invitation.objects.get().revoked_at is not None


def test_a_request_that_is_withdrawn_is_named_and_only_by_whose_it_is(ann: Person) -> None:
    whose = {"actor": ann.actor, "project": ann.project}
    make_version(ann, "iris")
    set_approval_policy(**whose)
    request = transition_stage(**whose, model_name="iris", ref=1, stage="Production")
    assert isinstance(request, ApprovalRequest)
    address = asked(ann, f"approvals/{request.public_id}/", "Withdraw the request for <bdi>iris</bdi> v1?")
    other = client_of(make_person(ann.project, "contributor"))
    assert other.get(address).status_code == 403
    assert other.post(address).status_code == 403
    assert client_of(ann).post(address).status_code == 302
    assert ApprovalRequest.objects.get().state == "Cancelled"
    again = client_of(ann).post(address)
    assert again.status_code == 422 and "Cancelled" in again.content.decode()
