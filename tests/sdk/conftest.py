"""A fake server and a client of it; no Django, no database, no real credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from podstack import MLOpsClient
from podstack.http import Retries
from tests.sdk.fake_server import PROJECT, TOKEN, FakeServer, running

QUICK = Retries(patience=3, first_patience=0.6, first_pause=0.01, longest_pause=0.05)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without credentials; answers the home."""
    for name in [name for name in os.environ if name.startswith("PODSTACK_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as fake:
        yield fake


@pytest.fixture
def client(server: FakeServer) -> MLOpsClient:
    return MLOpsClient(TOKEN, server.url, PROJECT, retries=QUICK)
