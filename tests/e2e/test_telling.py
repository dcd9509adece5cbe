"""What is told arrives, each event once, whichever process dies: webhooks and e-mail over the whole platform.

SOAK_FAULT_ROUNDS is the number of rounds in which the worker is killed, SOAK_BROKER_SECONDS how long the broker is away.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import quantiles

import pytest

from tests.e2e.conftest import Platform, another_platform
from tests.waiting import until

pytestmark = pytest.mark.slow

PATIENCE = 240.0

ROUNDS = int(os.environ.get("SOAK_FAULT_ROUNDS", "2"))
# Longer than a worker waits for the broker's answer.
AWAY = float(os.environ.get("SOAK_BROKER_SECONDS", "6"))
AT_ONCE = 20


class Receiver:
    """Keeps the events that come, by their id; slow enough that a worker can be killed while it sends."""

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.names: set[str] = set()
        self.pause = 0.05
        found = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(found.pause)
                found.ids[self.headers["webhook-id"]] += 1
                found.names.add(json.loads(body)["data"]["object_id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture(scope="module")
def telling() -> Iterator[Platform]:
    """A platform whose webhooks may reach this machine."""
    with another_platform(WEB_WORKERS="2", WEBHOOKS_TO_PRIVATE="1") as started:
        yield started


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()


def kill(platform: Platform, *words: str) -> None:
    for pid in platform.processes(*words):
        os.kill(pid, signal.SIGKILL)


def test_a_killed_worker_loses_no_event_and_makes_none_up(telling: Platform, receiver: Receiver) -> None:
    client = telling.client()
    hook = client.create_webhook("faults", receiver.url, events=["model.register_model"])
    for number in range(ROUNDS):
        names = {f"told-{number}-{index}" for index in range(AT_ONCE)}
        for index, name in enumerate(sorted(names)):
            client.register_model(name)
            if index in (AT_ONCE // 2, AT_ONCE - 1):
                kill(telling, "celery", "worker")
        until(lambda names=names: names <= receiver.names, PATIENCE)
    deliveries = list(client.list_webhook_deliveries(hook.id))
    assert {each.message_id for each in deliveries} == set(receiver.ids)
    assert len(receiver.ids) == ROUNDS * AT_ONCE
    until(lambda: {each.state for each in client.list_webhook_deliveries(hook.id)} == {"Delivered"}, PATIENCE)
    client.delete_webhook(hook.id)


def test_with_the_broker_away_writes_go_on_and_all_is_told_afterwards(
    telling: Platform, receiver: Receiver
) -> None:
    client = telling.client()
    hook = client.create_webhook("broker", receiver.url, events=["model.*"])
    brokers = telling.processes("valkey-server") or telling.processes("redis-server")
    # Workers are in the middle of these, and cannot say that they are done.
    for index in range(10):
        client.register_model(f"before-broker-{index}")
    until(lambda: receiver.names, PATIENCE)
    for pid in brokers:
        os.kill(pid, signal.SIGSTOP)
    took = []
    try:
        stopped = time.monotonic()
        for index in range(40):
            begun = time.monotonic()
            client.register_model(f"without-broker-{index}")
            took.append(time.monotonic() - begun)
        while time.monotonic() < stopped + AWAY:
            time.sleep(0.5)
    finally:
        for pid in brokers:
            os.kill(pid, signal.SIGCONT)
    # `make bench` measures; this is to see that nobody waits for the broker, whose time-outs are longer.
    assert quantiles(took, n=20)[-1] < 5.0
    until(lambda: len(receiver.ids) == 50, PATIENCE)
    deliveries = list(client.list_webhook_deliveries(hook.id))
    assert len({each.message_id for each in deliveries}) == len(deliveries) == 50
    client.delete_webhook(hook.id)


def test_a_reviewer_gets_one_letter_whatever_dies(telling: Platform, tmp_path: Path) -> None:
    ann, ray = telling.member("ann", "contributor"), telling.member("ray", "maintainer")
    telling.shell(
        "from accounts.models import User; User.objects.filter(username='ray').update(email='ray@x.org')",
    )
    (tmp_path / "w.txt").write_text("1 2 3")
    with ann.start_run("letters") as run:
        run.log_artifact(tmp_path / "w.txt")
    ray.set_approval_policy(reviewers=["ray"])
    version = ann.create_model_version("letters", run.id, "w.txt")
    kill(telling, "celery", "worker")
    asked = ann.transition_model_version_stage("letters", version.version, "Production")
    kill(telling, "celery", "worker")
    folder = telling.var / "mail"

    def letters() -> list[str]:
        return re.findall(
            r"^Message-ID: (\S+)", "".join(f.read_text() for f in folder.glob("*")), re.MULTILINE
        )

    until(lambda: folder.exists() and letters(), PATIENCE)
    (notice,) = ray.list_notifications(unread=True)
    assert asked.approval is not None
    assert asked.approval.id in notice.path
    time.sleep(2)
    assert len(set(letters())) == 1
    assert ray.read_notifications() == 1
    ray.approve(asked.approval.id, "fine")
    assert "Approved by ray" in next(ann.list_notifications(unread=True)).text
