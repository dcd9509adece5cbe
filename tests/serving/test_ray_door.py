"""The door that a replica of a cluster is, before a real serving process: asked here without a cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from serving.node import OneService
from tests.serving.test_node import model_dir, started

__all__ = ["model_dir"]  # a fixture
ray_app = pytest.importorskip("serving.ray_app")
MOST = 1000


@pytest.fixture
def service(model_dir: Path) -> Iterator[OneService]:
    (model_dir / "predictor.py").write_text(
        "class Predictor:\n  def load(self, path): pass\n  def predict(self, rows): return [sum(row) for row in rows]\n"
    )
    found = started(model_dir, "door")
    yield found
    found.end()


class Asked:
    """One request at the door: its body in pieces, and how many of them were taken."""

    def __init__(self, path: str, pieces: list[bytes], key: str = "the-key") -> None:
        self.pieces, self.taken = pieces, 0
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": f"/svc{path}",
            "raw_path": f"/svc{path}".encode(),
            "query_string": b"",
            "headers": [(b"x-serving-key", key.encode()), (b"host", b"x")],
            "server": ("x", 80),
        }

    async def receive(self) -> dict[str, Any]:
        piece, self.taken = self.pieces[self.taken], self.taken + 1
        return {"type": "http.request", "body": piece, "more_body": self.taken < len(self.pieces)}


def answered(service: OneService, asked: Asked) -> tuple[int, bytes]:
    async def answer() -> tuple[int, bytes]:
        door = object.__new__(ray_app.Model.func_or_class)
        door.prefix, door.session, door.key, door.most = "/svc", None, b"the-key", MOST
        door.address = service.address()
        try:
            found = await door(Request(asked.scope, asked.receive))
            if not hasattr(found, "body_iterator"):
                return found.status_code, found.body
            pieces: AsyncIterator[bytes] = found.body_iterator
            return found.status_code, b"".join([piece async for piece in pieces])
        finally:
            if door.session is not None:
                await door.session.close()

    return asyncio.run(answer())


def test_rows_are_passed_on_and_the_answer_back(service: OneService) -> None:
    status, said = answered(service, Asked("/predict", [b'{"instances": [[1, 2],', b" [3, 4]]}"]))
    assert (status, json.loads(said)) == (200, {"predictions": [3, 7]})
    lines = [b"[%d, 1]\n" % number for number in range(1000)]
    status, said = answered(service, Asked("/batch-predict", lines))
    found = [json.loads(line)["prediction"] for line in said.splitlines()]
    assert (status, found) == (200, [number + 1 for number in range(1000)]), (
        "more bytes than a request may have"
    )


def test_a_stranger_and_a_body_that_is_too_large_cost_no_memory(service: OneService) -> None:
    stranger = Asked("/batch-predict", [b"x" * MOST] * 100, key="another")
    status, said = answered(service, stranger)
    assert (status, stranger.taken) == (401, 0) and b"X-Serving-Key" in said
    large = Asked("/predict", [b"x" * 400] * 100)
    status, said = answered(service, large)
    assert (status, large.taken) == (413, 3) and b"more than 1000 bytes" in said
