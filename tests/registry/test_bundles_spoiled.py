"""Bundles that were damaged, or made up: each is refused by name, and nothing of it stays."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from artifacts.models import Blob
from common.errors import DomainError
from registry import bundles, keys
from registry.bundle_files import MOST_FILES, canonical
from registry.models import ModelVersion, RegisteredModel
from tests.factories import Person
from tests.registry.bundling import (
    entries,
    export,
    packed,
    public_text,
    send,
    signed,
)

pytestmark = pytest.mark.django_db


def spoil_json(found: dict[str, bytes]) -> None:
    found["bundle.json"] = found["bundle.json"].replace(b'"Fine."', b'"Fine!"')


def spoil_file(found: dict[str, bytes]) -> None:
    found["files/w.txt"] = b"1 2 4"


def lengthen_file(found: dict[str, bytes]) -> None:
    found["files/w.txt"] += b"!"


def drop_file(found: dict[str, bytes]) -> None:
    del found["files/w.txt"]


def add_file(found: dict[str, bytes]) -> None:
    found["files/new.txt"] = b""


def spoil_signature(found: dict[str, bytes]) -> None:
    document = json.loads(found["signature.json"])
    document["signature"] = base64.b64encode(bytes(64)).decode()
    found["signature.json"] = canonical(document)


def exchange_key(found: dict[str, bytes]) -> None:
    document = json.loads(found["signature.json"])
    document["public_key"] = public_text(Ed25519PrivateKey.generate())
    found["signature.json"] = canonical(document)


def rename_key(found: dict[str, bytes]) -> None:
    document = json.loads(found["signature.json"])
    found["signature.json"] = canonical({**document, "key_id": "0" * 16})


def no_signature(found: dict[str, bytes]) -> None:
    found["signature.json"] = b"[]"


def long_signature(found: dict[str, bytes]) -> None:
    found["signature.json"] += b" " * 5000


def drop_signature(found: dict[str, bytes]) -> None:
    del found["signature.json"]


def stray(found: dict[str, bytes]) -> None:
    found["readme.txt"] = b"hello"


SPOILED = [
    (spoil_json, "bundle.json"),
    (spoil_file, "files/w.txt"),
    (lengthen_file, "files/w.txt"),
    (drop_file, "files/w.txt"),
    (add_file, "files/new.txt"),
    (spoil_signature, "signature.json"),
    (exchange_key, "signature.json"),
    (rename_key, "signature.json"),
    (no_signature, "signature.json"),
    (long_signature, "signature.json"),
    (drop_signature, "signature.json"),
    (stray, "readme.txt"),
]


@pytest.mark.parametrize(("spoil", "name"), SPOILED, ids=lambda each: getattr(each, "__name__", each))
def test_a_spoiled_bundle_is_refused_naming_the_file(
    bob: Person, ann: Person, version: ModelVersion, spoil: Callable[[dict[str, bytes]], None], name: str
) -> None:
    found = entries(export(ann))
    assert send(bob, packed(found)).status_code == 201  # packed anew, it is the same bundle
    spoil(found)
    answer = send(bob, packed(found))
    assert (answer.status_code, answer.json()["code"]) == (400, "bundle_damaged"), answer.json()
    assert name in answer.json()["detail"]
    assert ModelVersion.objects.filter(model__project=bob.project).count() == 1


@pytest.mark.slow
def test_no_damaged_byte_changes_what_is_imported(ann: Person, bob: Person, version: ModelVersion) -> None:
    """Each byte in turn: refused, or one that says nothing (a time, a checksum that nobody needs)."""
    bundle = export(ann)
    whole = bundles.unpack_bundle(actor=bob.actor, project=bob.project, file=io.BytesIO(bundle))
    content = set()
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        for entry in opened.infolist():
            start = entry.header_offset + 30 + len(entry.filename.encode())
            content |= set(range(start, start + entry.file_size))
    passed = []
    for at in range(len(bundle)):
        spoiled = bundle[:at] + bytes([bundle[at] ^ 0x55]) + bundle[at + 1 :]
        try:
            found = bundles.unpack_bundle(actor=bob.actor, project=bob.project, file=io.BytesIO(spoiled))
        except DomainError as error:
            assert error.status in (400, 409), (at, error)
            assert error.code in ("bundle_damaged", "no_bundle", "invalid"), (at, error.message)
        else:
            passed.append(at)
            assert (found.record, found.signer) == (whole.record, whole.signer), at
            assert {p: b.sha256 for p, b in found.files.items()} == {
                p: b.sha256 for p, b in whole.files.items()
            }
    assert not content & set(passed)


@pytest.mark.parametrize(
    "name",
    [
        "files/../../etc/passwd",
        "files//etc/passwd",
        "/etc/passwd",
        "files/C:\\windows",
        "files/a\\b",
        "files/",
        "files/.",
        "files/a/",
        "files/a\nb",
        "files/" + "x" * 300,
        "FILES/w.txt",
        "../bundle.json",
    ],
)
def test_names_that_lead_elsewhere_are_refused(
    ann: Person, bob: Person, version: ModelVersion, name: str
) -> None:
    found = entries(export(ann))
    plain = send(bob, packed({**found, name: b"x"}))
    assert plain.status_code == 400, plain.json()
    record = json.loads(found["bundle.json"])
    file = {"path": name.removeprefix("files/"), "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    record["manifest"]["files"].append(file)
    assert send(bob, signed(record, {**found, name: b"x"})).status_code == 400
    assert not RegisteredModel.objects.filter(project=bob.project).exists()


def test_a_name_that_stands_there_twice_is_refused(ann: Person, bob: Person, version: ModelVersion) -> None:
    found = entries(export(ann))
    with pytest.warns(UserWarning, match="Duplicate name"):
        bundle = packed([*found.items(), ("files/w.txt", b"1 2 3")])
    answer = send(bob, bundle)
    assert (answer.status_code, answer.json()["code"]) == (400, "bundle_damaged")
    assert "twice" in answer.json()["detail"]


def test_a_deflated_bundle_is_one_too_but_nothing_else_is(
    ann: Person, bob: Person, version: ModelVersion
) -> None:
    found = entries(export(ann))
    assert send(bob, packed(found, zipfile.ZIP_DEFLATED)).status_code == 201
    assert send(bob, packed(found, zipfile.ZIP_BZIP2)).status_code == 400


def test_a_bomb_is_refused_before_it_is_unpacked(ann: Person, bob: Person, version: ModelVersion) -> None:
    found = entries(export(ann))
    bomb = packed({**found, "files/w.txt": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    before = Blob.objects.count()
    answer = send(bob, bomb)
    assert (answer.status_code, "files/w.txt" in answer.json()["detail"]) == (400, True)
    json_bomb = packed({**found, "bundle.json": b" " * 100_000_000}, zipfile.ZIP_DEFLATED)
    assert send(bob, json_bomb).status_code == 400
    # A size in the directory that is not the entry's: the reader stops at it.
    lying = bytearray(packed({**found, "files/w.txt": b"1 2 3" + bytes(1_000_000)}, zipfile.ZIP_DEFLATED))
    for at in (lying.find((1_000_005).to_bytes(4, "little")), lying.rfind((1_000_005).to_bytes(4, "little"))):
        lying[at : at + 4] = (5).to_bytes(4, "little")
    assert send(bob, bytes(lying)).status_code == 400
    assert Blob.objects.count() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip",
        b"PK\x05\x06" + bytes(18),
        b"PK\x05\x06" + b"\xff" * 16 + b"\0\0",
        b"PK\x06\x06" + b"\xff" * 52 + b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18),
        bytes(100_000),
    ],
)
def test_what_is_no_bundle_is_refused(bob: Person, content: bytes) -> None:
    answer = send(bob, content)
    assert (answer.status_code, "bundle" in answer.json()["errors"]) == (400, True)


def test_too_many_files_are_refused_before_they_are_looked_at(bob: Person) -> None:
    """The directory of a ZIP file alone, whose end says that there is one entry."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 7, *[0] * 6)
    directory = b"".join(entry + b"files/%x" % (index % 16) for index in range(MOST_FILES + 3))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), 0, 0)
    answer = send(bob, directory + end)
    assert (answer.status_code, "more than 50000 files" in answer.json()["detail"]) == (400, True)


RECORDS: list[tuple[str, Any]] = [
    ("format", "other"),
    ("format_version", 2),
    ("model", None),
    ("model.name", "a/b"),
    ("model.tags", "nlp"),
    ("model.description", 3),
    ("version.number", 0),
    ("version.number", 2**40),
    ("version.description", "\0"),
    ("version.description", "x" * 20_001),
    ("version.origins", {"a": "\0"}),
    ("version.origins", 1e999),
    ("metrics", []),
    ("metrics.training", {"a": "x"}),
    ("metrics.training", {"": 1}),
    ("params", {"a": [1]}),
    ("params", {"a": "\0"}),
    ("annotations", {"a": 1}),
    ("annotations", {"a": "x" * 5001}),
    ("run", {"a": ["\ud800"]}),
    ("history.transitions", json.loads("[" * 100 + "]" * 100)),
    ("manifest.files", []),
    ("manifest.files", None),
    ("manifest.files", [{"path": "w.txt", "size": "5", "sha256": "0" * 64}]),
    ("manifest.files", [{"path": "w.txt", "size": 5, "sha256": "A" * 64}]),
    ("manifest.digest", "0" * 64),
    ("server", ["x"]),
    ("exported_by", "x" * 201),
]


@pytest.mark.parametrize(("field", "value"), RECORDS)
def test_a_record_that_no_server_writes_is_refused_even_when_it_is_signed(
    ann: Person, bob: Person, version: ModelVersion, field: str, value: Any
) -> None:
    found = entries(export(ann))
    record = json.loads(found["bundle.json"])
    inside = record
    *folders, last = field.split(".")
    for key in folders:
        inside = inside[key]
    inside[last] = value
    content = json.dumps(record).encode()  # as another's JSON may be written: 1e999, lone surrogates
    content = content.replace(b"Infinity,", b"1e999,").replace(b": Infinity}", b": 1e999}")
    found |= {"bundle.json": content, "signature.json": canonical(keys.sign(content))}
    answer = send(bob, packed(found))
    assert answer.status_code == 400, answer.json()
    assert not RegisteredModel.objects.filter(project=bob.project).exists()
    del inside[last]
    assert send(bob, signed(record, found)).status_code == 400


@pytest.mark.parametrize("content", [b"[]", b"null", b"{", b"\xff", b'{"a": 1, "a": 2}', b'{"a": NaN}'])
def test_signed_nonsense_is_refused(bob: Person, content: bytes) -> None:
    bundle = packed({"bundle.json": content, "signature.json": canonical(keys.sign(content))})
    assert send(bob, bundle).status_code == 400
