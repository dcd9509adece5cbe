"""Webhooks are told of what was committed, signed, each under one id, and never reach into the private network."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from celery import current_app
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts import webhooks
from accounts.choices import Role
from accounts.models import AuditEntry, Notification, Webhook, WebhookDelivery
from accounts.posting import Outcome, is_public, post, signed
from approvals.services import transition_stage
from common import jobs
from common.jobs import Again, enqueue
from common.models import Job, JobState
from registry.services import register_model
from tests.factories import Person, make_person, make_project, make_version, run_jobs

pytestmark = pytest.mark.django_db


@dataclass
class Receiver:
    """A real server that keeps what it was sent and answers what it is told to."""

    url: str
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOKS_TO_PRIVATE = True

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = found.answers.pop(0) if found.answers else 200
            self.send_response(status)
            if status in (301, 302):
                self.send_header("Location", found.url + "/elsewhere")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.MAINTAINER, username="ann")


def hooked(person: Person, url: str, **words: Any) -> dict[str, Any]:
    body = {"name": "ci", "url": url, **words}
    answer = person.api.post(f"{person.base}/webhooks", body, format="json")
    assert answer.status_code == 201, answer.json()
    return dict(answer.json())


def promote(person: Person) -> None:
    make_version(person, "iris")
    transition_stage(
        actor=person.actor, project=person.project, model_name="iris", ref=1, stage="Production", note="n"
    )


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries."""
    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_event_arrives_signed_with_actor_and_what_was_before(ann: Person, receiver: Receiver) -> None:
    hook = hooked(ann, receiver.url, events=["version.transition_stage"])
    promote(ann)
    run_jobs()
    ((headers, body),) = receiver.got
    event = json.loads(body)
    assert event["type"] == "version.transition_stage"
    assert event["data"]["actor"] == "ann"
    assert (event["data"]["object_id"], event["data"]["project"]) == ("iris/1", "alpha")
    assert (event["data"]["before"], event["data"]["after"]["stage"]) == ({"stage": "None"}, "Production")
    key = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{right}"
    (row,) = ann.api.get(f"{ann.base}/webhooks/{hook['id']}/deliveries").json()["results"]
    assert (row["state"], row["status"], row["response"], row["attempts"]) == ("Delivered", 200, "ok", 1)
    assert row["message_id"] == headers["webhook-id"]
    assert right in row["request"]


def test_a_webhook_gets_the_events_that_it_names_and_those_of_its_project(
    ann: Person, receiver: Receiver
) -> None:
    hooked(ann, receiver.url, events=["model.*"])
    other = make_person(make_project("beta"))
    promote(other)
    promote(ann)
    run_jobs()
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["model.register_model"]


def test_without_names_it_gets_all_but_what_concerns_people_and_runs(ann: Person, receiver: Receiver) -> None:
    hooked(ann, receiver.url)
    promote(ann)
    kinds = {each.event.partition(".")[0] for each in WebhookDelivery.objects.all()}
    assert kinds == {"model", "version"}


def test_what_is_rolled_back_tells_nobody(ann: Person, receiver: Receiver) -> None:
    hooked(ann, receiver.url)
    with pytest.raises(RuntimeError), transaction.atomic():
        register_model(actor=ann.actor, project=ann.project, name="iris")
        raise RuntimeError
    assert run_jobs() == 0
    assert receiver.got == []


def test_a_refused_event_is_tried_again_under_the_same_id(ann: Person, receiver: Receiver) -> None:
    hooked(ann, receiver.url)
    receiver.answers = [500, 302, 200]
    register_model(actor=ann.actor, project=ann.project, name="iris")
    (row,) = WebhookDelivery.objects.all()
    assert webhooks.deliver(row.pk) == Again(5)
    assert webhooks.deliver(row.pk) == Again(30)
    assert webhooks.deliver(row.pk) is None
    assert webhooks.deliver(row.pk) is None
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("Delivered", 3)


def test_the_attempts_take_about_a_day() -> None:
    assert timedelta(hours=20) < timedelta(seconds=sum(webhooks.PAUSES)) < timedelta(hours=26)


def test_a_dead_webhook_is_switched_off_with_a_notice(ann: Person, receiver: Receiver) -> None:
    hook = hooked(ann, receiver.url)
    register_model(actor=ann.actor, project=ann.project, name="iris")
    (row,) = WebhookDelivery.objects.all()
    WebhookDelivery.objects.update(attempts=len(webhooks.PAUSES))
    receiver.answers = [503]
    assert webhooks.deliver(row.pk) is None
    found = ann.api.get(f"{ann.base}/webhooks/{hook['id']}").json()
    assert (found["is_active"], "It answered 503." in found["off_reason"]) == (False, True)
    assert Notification.objects.get().kind == "webhook_off"
    register_model(actor=ann.actor, project=ann.project, name="other")
    assert WebhookDelivery.objects.count() == 1
    answer = ann.api.patch(f"{ann.base}/webhooks/{hook['id']}", {"is_active": True}, format="json")
    assert (answer.json()["is_active"], answer.json()["off_reason"]) == (True, "")


def test_one_that_says_gone_is_switched_off_at_once(ann: Person, receiver: Receiver) -> None:
    hooked(ann, receiver.url)
    receiver.answers = [410]
    register_model(actor=ann.actor, project=ann.project, name="iris")
    run_jobs()
    assert not Webhook.objects.get().is_active


def test_redeliver_sends_the_same_id_again(ann: Person, receiver: Receiver) -> None:
    hook = hooked(ann, receiver.url)
    register_model(actor=ann.actor, project=ann.project, name="iris")
    path = f"{ann.base}/webhooks/{hook['id']}/deliveries"
    at = WebhookDelivery.objects.get().message_id
    assert ann.api.post(f"{path}/{at}/redeliver").json()["code"] == "delivery_waiting"
    run_jobs()
    assert ann.api.post(f"{path}/{at}/redeliver").status_code == 200
    run_jobs()
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [at, at]
    assert ann.api.post(f"{path}/msg_none/redeliver").status_code == 404


@pytest.mark.parametrize(
    ("form", "words"), [("slack", "text"), ("discord", "content"), ("teams", "attachments")]
)
def test_chat_gets_a_sentence(ann: Person, receiver: Receiver, form: str, words: str) -> None:
    hooked(ann, receiver.url, format=form, events=["version.transition_stage"])
    promote(ann)
    run_jobs()
    said = json.loads(receiver.got[0][1])
    assert words in said
    sentence = json.dumps(said, ensure_ascii=False)
    assert "ann: transition stage version iris/1 (None → Production)" in sentence


def test_no_webhook_reaches_into_the_private_network(
    ann: Person, receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOKS_TO_PRIVATE = False
    hook = hooked(ann, receiver.url)
    names = [
        "http://localhost:1/x",
        "http://[::1]:1/x",
        "http://0.0.0.0:1/",
        receiver.url,
        "http://2130706433/",
    ]
    for url in names:
        ann.api.patch(f"{ann.base}/webhooks/{hook['id']}", {"url": url}, format="json")
        said = webhooks.ping_webhook(actor=ann.actor, project=ann.project, webhook_id=hook["id"])
        webhooks.deliver(said.pk)
        said.refresh_from_db()
        assert said.state == "Failed", url
        assert "no public address" in said.error or "No answer" in said.error, url
    assert receiver.got == []


def dripping(first: bytes, drop: bytes, last: bytes = b"") -> str:
    """The address of a server that answers once, with fifty drops between, one each fifth of a second."""
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        link, _ = server.accept()
        with server, link, contextlib.suppress(OSError):
            link.recv(65536)
            link.sendall(first)
            for _ in range(50):
                link.sendall(drop)
                time.sleep(0.2)
            link.sendall(last)

    threading.Thread(target=drip, daemon=True).start()
    return f"127.0.0.1:{server.getsockname()[1]}/"


def test_a_receiver_that_goes_on_answering_for_ever_is_left_after_five_seconds(settings: Any) -> None:
    settings.WEBHOOKS_TO_PRIVATE = True
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"
    urls = {
        "head": "http://" + dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", b"Content-Length: 0\r\n\r\n"),
        "body": "http://" + dripping(whole, b"x"),
        "handshake": "https://" + dripping(b"\x16\x03\x03\x40\x00", b"x"),
    }
    outcomes: dict[str, Outcome] = {}

    def attempt(name: str, url: str) -> None:
        hook = Webhook(url=url, secret="whsec_" + base64.b64encode(b"s" * 32).decode())
        outcomes[name] = post(WebhookDelivery(webhook=hook, message_id="msg_1", payload={}))

    attempts = [threading.Thread(target=attempt, args=each) for each in urls.items()]
    for each in attempts:
        each.start()
    for each in attempts:
        each.join()
    for name in ("head", "handshake"):
        outcome = outcomes[name]
        assert (outcome.status, outcome.error) == (None, "No answer: there was none within 5 seconds."), name
    assert outcomes["body"].status == 200
    assert 0 < len(outcomes["body"].response) < 50


def test_deliveries_make_way_for_others_while_all_places_but_one_are_theirs(
    ann: Person, receiver: Receiver
) -> None:
    hooked(ann, receiver.url)
    register_model(actor=ann.actor, project=ann.project, name="iris")
    register_model(actor=ann.actor, project=ann.project, name="wine")
    current_app.loader.import_default_modules()
    first, second = Job.objects.filter(name="accounts.deliver_webhook").order_by("pk")
    held = jobs.claim(first.pk)
    enqueue("accounts.mail_invitation", invitation_id=0)
    jobs.run(second.pk)
    second.refresh_from_db()
    assert (receiver.got, second.state) == ([], JobState.QUEUED)
    assert held and second.run_after > held.created_at
    run_jobs()
    assert len(receiver.got) == 1, "With nothing else to do, a delivery does not wait for another."


def test_the_name_is_resolved_once_and_all_its_addresses_are_checked(
    ann: Person, receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means a public address first, and the loopback at the second look."""
    settings.WEBHOOKS_TO_PRIVATE = False
    looks: list[str] = []
    answers = [["93.184.216.34", "127.0.0.1"]]

    def resolve(host: str, port: int, **words: Any) -> list[Any]:
        looks.append(host)
        found = answers.pop(0) if answers else ["127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr("accounts.posting.socket.getaddrinfo", resolve)
    hooked(ann, "http://rebind.example.com/")
    register_model(actor=ann.actor, project=ann.project, name="iris")
    webhooks.deliver(WebhookDelivery.objects.get().pk)
    assert looks == ["rebind.example.com"]
    assert "rebind.example.com means 127.0.0.1" in WebhookDelivery.objects.get().error


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::5db8:d822", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "ftp://example.com"),
        ("url", "https://"),
        ("url", "https://user:pw@example.com/"),
        ("url", "javascript:alert(1)"),
        ("url", "https://exa mple.com/"),
        ("events", ["version"]),
        ("events", ["version.x y"]),
        ("events", "version.*"),
        ("format", "xml"),
        ("name", ""),
        ("name", None),
    ],
)
def test_what_is_no_webhook_is_refused_by_name(ann: Person, name: str, value: object) -> None:
    body = {"name": "ci", "url": "https://example.com/hook", name: value}
    answer = ann.api.post(f"{ann.base}/webhooks", body, format="json")
    assert (answer.status_code, [key.partition(".")[0] for key in answer.json()["errors"]]) == (400, [name])


def test_the_secret_is_shown_once_and_contributors_see_no_webhook(ann: Person) -> None:
    hook = hooked(ann, "https://example.com/hook")
    assert hook["secret"].startswith("whsec_")
    for path in ("webhooks", f"webhooks/{hook['id']}"):
        assert hook["secret"] not in ann.api.get(f"{ann.base}/{path}").content.decode()
    bob = make_person(ann.project, Role.CONTRIBUTOR)
    assert bob.api.get(f"{bob.base}/webhooks").status_code == 403
    stranger = make_person(make_project("beta"))
    path = f"{stranger.base}/webhooks/{hook['id']}"
    assert stranger.api.get(path).status_code == 404


def test_a_delivery_waits_in_the_queue_of_the_same_transaction(ann: Person, receiver: Receiver) -> None:
    hooked(ann, receiver.url)
    register_model(actor=ann.actor, project=ann.project, name="iris")
    job = Job.objects.get(name="accounts.deliver_webhook")
    assert (job.state, job.kwargs) == (JobState.QUEUED, {"delivery_id": WebhookDelivery.objects.get().pk})
    assert job.run_after <= timezone.now()


def test_the_pages_make_show_ping_switch_redeliver_and_remove(ann: Person, receiver: Receiver) -> None:
    client = Client()
    client.force_login(ann.user)

    def page(path: str) -> str:
        answer = client.get(f"/projects/alpha/{path}")
        assert answer.status_code == 200, path
        return str(answer.content.decode())

    assert "Nobody is told yet" in page("webhooks/")
    words = {"name": "<b>ci</b>", "url": "nowhere", "format": "standard", "events": "model.*"}
    answer = client.post("/projects/alpha/new-webhook/", words)
    assert (answer.status_code, "model.*" in answer.content.decode()) == (422, True)
    answer = client.post("/projects/alpha/new-webhook/", {**words, "url": receiver.url})
    assert "whsec_" in answer.content.decode()
    hook = Webhook.objects.get()
    assert "<b>ci</b>" not in page("webhooks/")
    where = f"/projects/alpha/webhooks/{hook.public_id}/"
    assert client.post(f"{where}ping/").status_code == 302
    assert AuditEntry.objects.filter(verb="ping_webhook", door="portal").count() == 1
    run_jobs()
    shown = page(f"webhooks/{hook.public_id}/")
    assert "Delivered" in shown
    assert "webhook-signature" in shown
    at = WebhookDelivery.objects.get().message_id
    assert client.post(f"{where}redeliver/{at}/").status_code == 302
    assert client.post(f"{where}off/").status_code == 302
    assert "Switch on" in page(f"webhooks/{hook.public_id}/")
    assert client.post(f"{where}edit/", {**words, "url": receiver.url, "events": ""}).status_code == 302
    assert client.post(f"{where}delete/", {"confirm": "another"}).status_code == 422
    assert client.post(f"{where}delete/", {"confirm": hook.name}).status_code == 302
    assert not Webhook.objects.exists()
    viewer = Client()
    viewer.force_login(make_person(ann.project, Role.VIEWER).user)
    assert viewer.get("/projects/alpha/webhooks/").status_code == 403
