"""Every operation, with one value at a time made bad: never a 5xx, and each refusal says what is wrong.

SOAK_INPUT=1 sends every combination; without it, a fixed choice of them.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from django.db import transaction
from django.test import Client

from deployments import services as deployment_verbs
from tests.structure.operations import NEEDS_A_BUCKET, Operation, World, make_world, operations

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

EVERYTHING = os.environ.get("SOAK_INPUT") == "1"
# Fields that are given instead of others, which the operation is played with here.
INSTEAD = {"upload_training_code": {"git_url", "git_commit", "git_path"}}
SHARE = 1.0 if EVERYTHING else 0.1
FEWEST = 5000
PARTS = 4  # so that the workers share them
LONG = "x" * 1_000_000
DEEP = "[" * 1000 + "]" * 1000
DEEP_OBJECT = '{"a":' * 1000 + "1" + "}" * 1000

TEXTS = [
    "",
    " ",
    "x" * 300,
    "\0",
    "a\0b",
    "\ud800",
    "a\udfffb",
    "\x1b[31mred",
    "\x7f",
    "\u202egpj.exe",
    "\u2028",
    "é" * 200,
    "\U0001f600",
    "NaN",
    "null",
    "0",
    "-1",
    "latest",
    "v1",
    "2147483648",
    "9223372036854775808",
    "1e400",
    "..",
    ".",
    "../../etc/passwd",
    "..\\..\\x",
    "/etc/passwd",
    "C:\\x",
    "a//b",
    "%2e%2e",
    "%00",
    "'; DROP TABLE accounts_user; --",
    "{{ 7 * 7 }}",
    "<script>alert(1)</script>",
    "٣",  # a digit, but not an ASCII one
    "²",
]
NUMBERS = [
    *(0, -1, True, 1.5, -0.0, 1e308, 5e-324),
    *(2**n + d for n in (15, 31, 32, 53, 62, 63, 64) for d in (-1, 0)),
    *(-(2**31) - 1, -(2**63) - 1, 10**300, 10**4000),
]
# JSON as it is sent, where json.dumps would not write it.
RAW = [
    *("null", "[]", "{}", "[null]", '[""]', "[[]]", '{"": ""}', '{"\\ud800": 1}', '{"a\\u0000": "b"}'),
    *(DEEP, DEEP_OBJECT, "NaN", "Infinity", "1e400", "-1e400", "1E-400", "9" * 5000),
    *('{"a": 1, "a": 2}', "[1, 2", '"' + LONG + '"', "[" + "0," * 20_000 + "0]"),
]
VALUES = [*RAW, *(json.dumps(text) for text in TEXTS), *(json.dumps(number) for number in NUMBERS)]
KEYS = ["", " ", "x" * 300, "\0", "\ud800", "\x1b", "..", "a/b", "a.b", "__proto__", "%2e%2e"]
BODIES: list[tuple[bytes, str]] = [
    *((raw.encode(), "application/json") for raw in ("", "1", '"x"', "{", *RAW)),
    (b"\xff\xfe", "application/json"),
    (b"\xef\xbb\xbf{}", "application/json"),
    (b'{"a": "\xed\xa0\x80"}', "application/json"),
    (b"{}", "application/json; charset=utf-16"),
    (b"{}", "application/xml"),
    (b"{}", "text/plain"),
    (b"{}", "nonsense"),
    (b"{}", ""),
    (b"name=x&stage=Production", "application/x-www-form-urlencoded"),
    (
        b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
    ),
    (b"--b", "multipart/form-data; boundary=b"),
    (b"x", "multipart/form-data"),
]
# Path parameters as they are sent: encoded once, not at all, and twice.
# Cursors that no list gave: positions that are no number and no date, offsets out of all bounds.
CURSORS = [
    base64.b64encode(text.encode()).decode()
    for text in (
        *("p=nonsense", "p=2020-01-01", "p=1e999", "p=%00", "p=-1&r=1", "p=9999999999999999999999", "p=NaN"),
        *(
            "o=-1",
            "o=1",
            "o=99999999999999999999999",
            "o=x",
            "r=2&p=1",
            "p=1&p=2",
            "",
            "=",
            "p=" + "x" * 5000,
        ),
    )
]
PATHS = [
    *(quote(text.encode("utf-8", "surrogatepass"), safe="") for text in TEXTS if text),
    *(
        "%252e%252e",
        "%252F",
        "..%2f..%2fetc%2fpasswd",
        "..%5c..",
        "%c0%ae%c0%ae",
        "%ff%fe",
        "%ed%a0%80",
        "%zz",
    ),
    *("a%2fb", "a%3fb", "a%23b", "a+b", "a%20b", "a;b=c", "~", "@", ":", "x" * 5000),
]


@dataclass(frozen=True)
class Attack:
    """One request: what is bad about it, and what is sent instead of the working one."""

    operation: Operation
    what: str
    sent: dict[str, Any] = field(repr=False)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to each value inside a body, containers included."""
    yield at
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, key))


MARK = "a value to be replaced"


def with_raw(body: Any, at: tuple[Any, ...], raw: str) -> bytes:
    """The body as JSON with `raw` standing at this place."""
    changed = copy.deepcopy(body)
    inside = changed
    for key in at[:-1]:
        inside = inside[key]
    inside[at[-1]] = MARK
    return json.dumps(changed).replace(json.dumps(MARK), raw).encode()


def with_key(body: Any, at: tuple[Any, ...], key: str) -> bytes:
    """The body with the last key of this place called `key`."""
    changed = copy.deepcopy(body)
    inside = changed
    for step in at[:-1]:
        inside = inside[step]
    inside[key] = inside.pop(at[-1])
    return json.dumps(changed).encode()


def twice(body: dict[str, Any], key: str) -> bytes:
    """The body with one key written two times."""
    return f"{{{json.dumps(key)}: {json.dumps(body[key])}, {json.dumps(body)[1:]}".encode()


def attacks(world: World) -> Iterator[Attack]:
    for operation in operations():
        for name in operation.path:
            for text in PATHS:
                path = world.path_of(operation, {name: text})
                yield Attack(operation, f"{name}={text[:40]}", {"path": path})
        for name in (*operation.query, "unknown"):
            for text in CURSORS if name == "cursor" else (*TEXTS, LONG):
                known = world.queries.get(operation.name, {})
                yield Attack(operation, f"?{name}={text[:40]!r}", {"query": {**known, name: text}})
        if operation.body is not None:
            yield from body_attacks(operation, world.bodies[operation.name])


def body_attacks(operation: Operation, body: dict[str, Any]) -> Iterator[Attack]:
    for raw, content_type in BODIES:
        yield Attack(operation, f"{content_type} {raw[:40]!r}", {"raw": raw, "content_type": content_type})
    for at in list(places(body))[1:]:
        where = ".".join(map(str, at))
        for value in VALUES:
            yield Attack(operation, f"{where}={value[:40]}", {"raw": with_raw(body, at, value)})
        if isinstance(at[-1], str):
            for key in KEYS:
                yield Attack(operation, f"{where} called {key[:40]!r}", {"raw": with_key(body, at, key)})
    for key in body:
        yield Attack(operation, f"{key} twice", {"raw": twice(body, key)})


def refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def fault(answer: Any) -> str:
    """What is wrong with an answer; "" where nothing is."""
    if answer.status_code >= 500:
        return f"{answer.status_code} {answer.content[:300]!r} {getattr(answer, 'exc_info', None)}"
    kind = answer.headers.get("Content-Type", "")
    if answer.status_code < 400:
        if kind == "application/json":
            json.loads(answer.content, parse_constant=refuse_constant)
        return "" if answer.status_code < 300 else f"{answer.status_code}"
    if not answer.content and answer.request["REQUEST_METHOD"] == "HEAD":
        return ""
    if kind != "application/problem+json":
        return f"{answer.status_code} as {kind}"
    document = json.loads(answer.content)
    if document["status"] != answer.status_code or not document["detail"].strip() or not document["code"]:
        return f"a problem without a sentence: {document}"
    return "" if len(answer.content) < 20_000 else f"a problem of {len(answer.content)} bytes"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """One of everything, and an engine that can be asked for logs."""
    engine = SimpleNamespace(logs=lambda *asked: ["a line"], gpu_types=lambda: [])
    monkeypatch.setattr(deployment_verbs, "engine_for", lambda name: engine)
    return make_world()


def client(world: World) -> Client:
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {world.person.token}"})


def test_each_operation_works_with_the_values_that_are_made_bad_here(world: World) -> None:
    """So that a refusal is about the bad value; and no field of a body is left out."""
    api = client(world)
    for operation in operations():
        with transaction.atomic():
            answer = world.send(api, operation)
            works = answer.status_code < 300 or operation.name in NEEDS_A_BUCKET
            assert works, (operation, getattr(answer, "content", b""))
            transaction.set_rollback(True)
        properties = (operation.body or {}).get("properties", {})
        left_out = INSTEAD.get(operation.name, set())
        assert set(properties) - left_out == set(world.bodies.get(operation.name, {})), operation


@pytest.mark.parametrize("part", range(PARTS))
def test_no_value_breaks_the_server(world: World, part: int) -> None:
    api = client(world)
    choice = random.Random(4)
    chosen = [attack for attack in attacks(world) if choice.random() < SHARE]
    assert len(chosen) >= FEWEST
    faults = []
    for attack in chosen[part::PARTS]:
        with transaction.atomic():
            answer = world.send(api, attack.operation, **attack.sent)
            transaction.set_rollback(True)
        if wrong := fault(answer):
            faults.append(f"{attack.operation} {attack.what}: {wrong}")
    assert not faults, f"{len(faults)} of {len(chosen)}:\n" + "\n".join(faults[:40])
