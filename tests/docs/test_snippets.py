"""The Python on a page runs from top to bottom against a real server, as a reader would run it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.db import connection
from django.utils import timezone

from common import jobs
from common.models import Job, JobState
from tests.factories import make_person, make_project

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGES = (
    "start.md",
    "registry.md",
    "portal.md",
    "files.md",
    "approvals.md",
    "webhooks.md",
    "lineage.md",
    "deployments.md",
)
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page_run(
    page: str, live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = make_person(make_project("alpha"), username="ann")
    monkeypatch.setenv("PODSTACK_API_ENDPOINT", live_server.url)
    monkeypatch.setenv("PODSTACK_API_TOKEN", ann.token)
    monkeypatch.setenv("PODSTACK_PROJECT", "alpha")
    monkeypatch.chdir(tmp_path)
    Path("weights.txt").write_text("1 2 3")
    names: dict[str, Any] = {}
    with a_worker():
        for number, snippet in enumerate(SNIPPET.findall((DOCS / page).read_text()), start=1):
            exec(compile(snippet, f"{page} snippet {number}", "exec"), names)


@contextmanager
def a_worker() -> Iterator[None]:
    """Does the jobs that the server queues, as the platform's worker would, until the block ends."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.1):
            due = Job.objects.filter(state=JobState.QUEUED, run_after__lte=timezone.now())
            for row in due.order_by("run_after"):
                jobs.run(row.pk)
        connection.close()

    current_app.loader.import_default_modules()
    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()
