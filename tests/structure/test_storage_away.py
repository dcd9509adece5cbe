"""Every operation and every page while the storage does not answer: what needs no bytes works, the rest says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from common.errors import Busy
from deployments import services as deployment_verbs
from tests.factories import browser
from tests.structure.operations import World, make_world, operations
from tests.structure.test_page_rights import filled, pages

pytestmark = pytest.mark.django_db
NEED_BYTES = {
    *("store_blob", "store_blobs", "begin_upload", "put_part", "complete_upload", "abort_upload"),
    *("download_run_file", "read_run_files", "tracking:run_file", "tracking:run_preview"),
    *("download_version_file", "read_version_files", "export_version", "import_version"),
    *("registry:version_file", "registry:version_preview", "registry:version_download"),
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> World:
    engine = SimpleNamespace(logs=lambda *asked: ["a line"], gpu_types=lambda: [])
    monkeypatch.setattr(deployment_verbs, "engine_for", lambda name: engine)
    settings.STORAGE_URL = (tmp_path / "blobs").as_uri()
    world = make_world()
    (tmp_path / "blobs").rename(tmp_path / "away")
    (tmp_path / "blobs").write_text("no folder")
    return world


def outcome(ask: Callable[[], Any]) -> str:
    """ "works", "away", or what broke; nothing stays of what was done."""
    with transaction.atomic():
        try:
            answer = ask()
            content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        except Busy:  # bytes were on their way: the connection ends before the announced end
            return "away"
        finally:
            transaction.set_rollback(True)
    if answer.status_code == 503 and b"The storage does not answer" in content:
        return "away"
    return "works" if answer.status_code < 500 else f"{answer.status_code} {content[:300]!r}"


def test_nothing_breaks_and_only_what_needs_bytes_has_to_wait(world: World) -> None:
    api = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {world.person.token}"})
    portal = browser(world.person, raise_request_exception=False)
    found = {each.name: outcome(partial(world.send, api, each)) for each in operations()}
    found |= {name: outcome(partial(portal.get, filled(world, name, route))) for name, route in pages()}
    broken = {name: what for name, what in found.items() if what not in ("works", "away")}
    assert not broken
    assert {name for name, what in found.items() if what == "away"} == NEED_BYTES
