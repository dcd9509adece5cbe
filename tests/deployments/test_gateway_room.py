"""What one process of the gateway gives to slow and large bodies, and to one person, so that others get their answers.

The endpoint does not run: 503 with `endpoint_not_live` says that a request got past all this.
"""

from __future__ import annotations

import resource
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from accounts import services as accounts
from accounts.choices import Role, Scope
from tests.deployments.conftest import (
    GatewayProcess,
    a_quick_version,
    ask,
    call,
    database_url,
    deploy,
    whole_answer,
)
from tests.factories import Person, make_person, make_project
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., GatewayProcess]


@pytest.fixture
def start(tmp_path: Path, settings: Any, transactional_db: None) -> Iterator[Start]:
    """Starts a gateway with bounds of its own."""
    process = GatewayProcess(tmp_path, database_url())

    def started(**bounds: int) -> GatewayProcess:
        process.environ |= {f"GATEWAY_{name.upper()}": str(value) for name, value in bounds.items()}
        process.start()
        settings.GATEWAY_URL = process.url
        return process

    yield started
    process.end()


@pytest.fixture
def eve() -> Person:
    eve = make_person(make_project(), username="eve")
    deploy(eve, a_quick_version(eve))
    return eve


def half_sent(person: Person, gateway: GatewayProcess, size: int = 1) -> socket.socket:
    """A request of which `size` bytes of the body came, and more are to come."""
    raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
    head = (
        f"POST /serve/{person.project.slug}/iris-api HTTP/1.1\r\nHost: x\r\nContent-Length: {size + 1000}\r\n"
    )
    raw.sendall(f"{head}Authorization: Bearer {person.token}\r\n\r\n".encode() + b"x" * size)
    return raw


def full_of(person: Person, gateway: GatewayProcess, size: int, stack: ExitStack) -> bytes:
    """The answer to the one of three such requests for which there is no room; the other two stay."""
    sent = [stack.enter_context(half_sent(person, gateway, size)) for _ in range(3)]
    answered, _, _ = select.select(sent, [], [], 60)
    return b"".join(one.recv(65536) for one in answered)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_body_that_drips_has_its_time_as_a_whole(eve: Person, start: Start) -> None:
    with half_sent(eve, start(body_seconds=1)) as raw:
        for _ in range(100):
            raw.sendall(b"x")
            if select.select([raw], [], [], 0.2)[0]:
                break
        answer = whole_answer(raw)
        assert answer.split(b" ")[1] == b"400"
        assert b"body_too_slow" in answer and b"connection: close" in answer.lower()


def test_bodies_at_once_have_a_bound_and_then_wait_outside(eve: Person, start: Start) -> None:
    gateway = start(max_held_bytes=1 << 20)
    with ExitStack() as held:
        assert full_of(eve, gateway, 400 << 10, held).split(b" ")[1] == b"503"
        large = {"data": b"[" + b" " * (400 << 10) + b"1]"}
        refused = call(eve, **large)
        assert code(refused) == (503, "busy")
        assert refused.headers["Retry-After"] == "1" and "takes at most 1048576" in refused.json()["detail"]
        assert code(ask(eve, rows=[1])) == (503, "endpoint_not_live"), "a small one finds room"
    until(lambda: code(call(eve, **large)) == (503, "endpoint_not_live"), 30)


def test_one_person_takes_not_all_places_with_however_many_tokens(eve: Person, start: Start) -> None:
    gateway = start(max_of_a_person=2)
    ann = make_person(eve.project, Role.VIEWER)
    _, second = accounts.create_token(actor=eve.actor, name="second", scopes=[Scope.PREDICT])
    other = {"headers": {"Authorization": f"Bearer {second}"}, "json": {"instances": [1]}}
    with ExitStack() as held:
        assert full_of(eve, gateway, 1, held).split(b" ")[1] == b"429"
        assert code(call(eve, **other)) == (429, "rate_limited")
        assert code(ask(ann)) == (503, "endpoint_not_live")
    until(lambda: code(call(eve, **other)) == (503, "endpoint_not_live"), 30)


def test_a_usual_limit_of_open_files_is_no_limit_of_connections(eve: Person, start: Start) -> None:
    """Who connects and asks nothing has a file for half a minute, and each request has two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        gateway = start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with ExitStack() as held:
        for _ in range(400):
            held.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10))
        assert code(ask(eve, rows=[1])) == (503, "endpoint_not_live")
