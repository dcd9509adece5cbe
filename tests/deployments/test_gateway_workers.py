"""A gateway of two processes limits and counts what comes to both as one."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from deployments.models import Deployment, EndpointTraffic
from deployments.scaling import scale_endpoints
from gateway.limits import Limits
from tests.deployments.conftest import (
    ROOT,
    GatewayProcess,
    a_quick_version,
    database_url,
    deploy,
    deployed,
    events,
    state,
    work_until,
)
from tests.factories import Person
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def gateway(tmp_path: Path, settings: Any, transactional_db: None) -> Iterator[GatewayProcess]:
    process = GatewayProcess(tmp_path, database_url(), workers=2)
    process.start()
    settings.GATEWAY_URL = process.url
    until(lambda: len(workers(process)) == 2, 20)
    yield process
    process.end()


def workers(gateway: GatewayProcess) -> list[int]:
    """The processes that answer, as their parent counts them."""
    assert gateway.process is not None
    parent = gateway.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def held_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def connections(person: Person, gateway: GatewayProcess, each: int) -> list[list[requests.Session]]:
    """Kept connections, so many to each of the processes: who is held still accepts none."""
    first, second = workers(gateway)
    found = []
    for still in (second, first):
        with held_still(still):
            sessions = [requests.Session() for _ in range(each)]
            for session in sessions:
                session.headers["Authorization"] = f"Bearer {person.token}"
                assert session.get(f"{gateway.url}/livez", timeout=20).status_code == 200
        found.append(sessions)
    return found


def ask(person: Person, gateway: GatewayProcess, session: requests.Session) -> int:
    address = f"{gateway.url}/serve/{person.project.slug}/iris-api"
    return session.post(address, json={"instances": [1]}, timeout=30).status_code


def test_limits_have_their_space_from_the_beginning_or_the_gateway_says_why_not(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "gateway", "--port", "0"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql://", "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(
        f"The gateway needs 16 MiB for its limits in {tmp_path}: File too large."
    )
    Limits(tmp_path / "limits").close()
    assert (tmp_path / "limits").stat().st_blocks * 512 >= 16 << 20


def test_a_limit_holds_over_all_processes_and_is_there_for_each(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    ((one,), (other,)) = connections(ada, gateway, 1)
    assert ask(ada, gateway, one) == ask(ada, gateway, other) == 200
    limit = 20
    Deployment.objects.update(rate_limit=limit)
    began = time.monotonic()
    assert [ask(ada, gateway, one) for _ in range(limit)] == [200] * limit, "all of it to one process"
    answers = [ask(ada, gateway, session) for _ in range(limit) for session in (other, one)]
    passed = limit + answers.count(200)
    assert passed <= limit + limit * (time.monotonic() - began) + 1
    assert set(answers) == {200, 429}


def test_requests_at_once_are_summed_over_all_processes_and_scaled_by(
    ada: Person, gateway: GatewayProcess, settings: Any
) -> None:
    settings.SERVING_TARGET_IN_FLIGHT = 2
    deploy(ada, a_quick_version(ada, "import time; time.sleep(2.5); return rows"), max_replicas=2)
    work_until(lambda: state(ada) == "Active")
    sessions = [session for two in connections(ada, gateway, 2) for session in two]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda session: ask(ada, gateway, session), sessions))
    assert answers == [200] * 4
    until(lambda: max(EndpointTraffic.objects.values_list("peak_in_flight", flat=True)) == 4, 20)
    assert scale_endpoints() == 1
    assert events(ada)[-1] == "Up to 4 requests at once: 2 replicas instead of 1."
