"""Versions as signed bundles: out of one project or server, into another, and every way to spoil one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django.urls import reverse

from accounts.choices import Role
from accounts.models import AuditEntry, Project
from accounts.permissions import system_actor
from approvals.services import transition_stage
from artifacts.models import Blob
from common.errors import DomainError
from registry import bundles, keys, services
from registry.aliases import set_alias
from registry.bundle_files import MOST_FILES, ReadBundle, canonical
from registry.choices import MetricKind, Relation, VersionStatus
from registry.models import Inspection, ModelVersion, RegisteredModel, StageTransition, VersionMetric
from registry.trash import delete_version, purge_models
from tests.factories import Person, add_files, make_person, make_project, make_version, run_jobs
from tracking import services as tracking_verbs

pytestmark = pytest.mark.django_db

FILES = {
    "model/w.txt": b"1 2 3",
    "model/sub/größe.bin": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "model/empty": b"",
}


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


@pytest.fixture
def bob() -> Person:
    """Somebody elsewhere, who knows nothing of alpha."""
    return make_person(make_project("beta"), Role.CONTRIBUTOR, username="bob")


@pytest.fixture
def version(ann: Person) -> ModelVersion:
    """A Ready version with something of everything."""
    made = make_version(ann, "m", files=FILES, ready=False, accuracy=0.9, loss=float("inf"))
    run_jobs()
    made.refresh_from_db()
    assert made.status == VersionStatus.READY
    where = {"actor": ann.actor, "project": ann.project, "model_name": "m"}
    services.update_model(actor=ann.actor, project=ann.project, name="m", description="Fine.", tags=["nlp"])
    services.update_version(**where, ref=1, description="The first.")
    services.set_version_tag(**where, ref=1, key="k", value="v")
    set_alias(**where, alias="best", version=1)
    transition_stage(**where, ref=1, stage="Staging", note="Looks good.")
    VersionMetric.objects.create(version=made, kind=MetricKind.VALIDATION, key="auc", value=0.5)
    return made


def export(person: Person, name: str = "m", ref: object = 1) -> bytes:
    answer = person.api.get(f"{person.base}/models/{name}/versions/{ref}/bundle")
    assert answer.status_code == 200, answer.json()
    return b"".join(answer.streaming_content)


def send(person: Person, bundle: bytes, query: str = "", **headers: str) -> Any:
    return person.api.post(
        f"{person.base}/bundles{query}", bundle, content_type="application/zip", headers=headers
    )


def entries(bundle: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(contents: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        for name, content in contents.items() if isinstance(contents, dict) else contents:
            opened.writestr(name, content)
    return out.getvalue()


def signed(record: dict[str, Any], contents: dict[str, bytes]) -> bytes:
    """A bundle with this bundle.json, signed by this server."""
    content = canonical(record)
    rest = {name: each for name, each in contents.items() if name.startswith("files/")}
    return packed({"bundle.json": content, "signature.json": canonical(keys.sign(content)), **rest})


def pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_text(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def test_a_version_comes_back_with_files_metadata_and_history(
    ann: Person, bob: Person, version: ModelVersion
) -> None:
    answer = send(bob, export(ann))
    assert answer.status_code == 201, answer.json()
    made = answer.json()
    assert (made["model_name"], made["version"], made["stage"], made["status"]) == ("m", 1, "None", "Ready")
    assert made["manifest_digest"] == version.manifest.digest
    assert made["metrics"] == {"accuracy": 0.9, "loss": "Infinity"}
    assert made["validation_metrics"] == {"auc": 0.5}
    assert (made["tags"], made["aliases"], made["description"]) == ({"k": "v"}, [], "The first.")
    assert (made["source_run_id"], made["artifact_path"], made["created_by"]) == (None, "model", "bob")
    for path, content in FILES.items():
        inside = path.removeprefix("model/")
        got = bob.api.get(f"{bob.base}/models/m/versions/1/artifacts/{inside}")
        assert (b"".join(got) if content else got.content) == content
    model = bob.api.get(f"{bob.base}/models/m").json()
    assert (model["description"], model["tags"], model["aliases"]) == ("Fine.", ["nlp"], {})
    assert VersionMetric.objects.filter(version__model__project=bob.project, kind="validation").count() == 1


def test_the_other_history_is_told_in_the_origin_and_never_mixed_into_ours(
    ann: Person, bob: Person, version: ModelVersion, settings: Any
) -> None:
    origin = send(bob, export(ann)).json()["origin"]
    assert (origin["kind"], origin["server"]) == ("import", settings.PUBLIC_URL)
    assert (origin["project"], origin["model"], origin["version"]) == ("alpha", "m", 1)
    assert (origin["manifest_digest"], origin["stage"]) == (version.manifest.digest, "Staging")
    assert (origin["signer"], origin["imported_by"]) == (keys.own_public_key().id, "bob")
    (move,) = origin["history"]["transitions"]
    assert (move["from_stage"], move["to_stage"], move["note"], move["actor"]) == (
        "None",
        "Staging",
        "Looks good.",
        "ann",
    )
    assert [(m["alias"], m["to_version"]) for m in origin["history"]["alias_moves"]] == [("best", 1)]
    run = origin["run"]
    assert (run["id"], run["experiment"]) == (version.source_run.public_id, "exp")
    assert run["metrics"] == {"accuracy": 0.9, "loss": "Infinity"}
    assert not StageTransition.objects.filter(version__model__project=bob.project).exists()
    assert bob.api.get(f"{bob.base}/models/m/versions/1/transitions").json()["results"] == []


def test_the_page_says_where_an_import_is_from(
    ann: Person, bob: Person, version: ModelVersion, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://<other>.example.com"
    send(bob, export(ann))
    browser = Client()
    browser.force_login(bob.user)
    page = browser.get(reverse("registry:version", args=["beta", "m", 1])).content.decode()
    assert (
        "Imported from https://&lt;other&gt;.example.com, <bdi>alpha</bdi>, <bdi>m</bdi> v1, signed by"
        in page
    )
    assert keys.own_public_key().id in page


def test_a_run_s_parameters_and_datasets_travel_in_its_summary(ann: Person, bob: Person) -> None:
    run = tracking_verbs.start_run(
        actor=ann.actor, project=ann.project, experiment_id="exp", code_version="abc", tags={"t": "u"}
    )
    where = {"actor": ann.actor, "project": ann.project, "run_id": run.public_id}
    tracking_verbs.log_params(**where, params={"depth": 3, "none": None, "text": "x"})
    tracking_verbs.log_dataset(**where, name="iris.csv", path="data/iris.csv", digest="0", context="training")
    add_files(ann, run, {"model/w.txt": b"w"})
    services.create_version(
        actor=ann.actor,
        project=ann.project,
        model_name="p",
        source_run_id=run.public_id,
        artifact_path="model",
    )
    run_jobs()
    made = send(bob, export(ann, "p")).json()
    assert made["params"] == {"depth": 3, "none": None, "text": "x"}
    found = made["origin"]["run"]
    assert (found["params"], found["tags"], found["code_version"]) == (made["params"], {"t": "u"}, "abc")
    assert [(d["name"], d["context"]) for d in found["datasets"]] == [("iris.csv", "training")]


def test_a_version_that_travels_on_tells_where_it_was_before(
    ann: Person, bob: Person, version: ModelVersion
) -> None:
    send(bob, export(ann))
    again = send(ann, export(bob), "?model=back").json()["origin"]
    assert (again["project"], [each["project"] for each in again["before"]]) == ("beta", ["alpha"])
    third = send(bob, export(ann, "back"), "?model=again").json()["origin"]
    assert [each["project"] for each in third["before"]] == ["alpha", "beta"]
    assert all("before" not in each for each in third["before"])


def test_a_parent_is_named_in_the_origin(ann: Person, bob: Person, version: ModelVersion) -> None:
    child = make_version(ann, "child", files=FILES, ready=False)
    ModelVersion.objects.filter(pk=child.pk).update(parent=version, relation=Relation.FINE_TUNED)
    made = send(bob, export(ann, "child")).json()
    assert made["origin"]["parent"] == {"model": "m", "version": 1, "relation": "fine_tuned"}
    assert made["parent"] is None


def test_what_came_along_is_gone_once_the_trash_is_emptied(
    ann: Person, bob: Person, version: ModelVersion, settings: Any
) -> None:
    send(bob, export(ann))
    settings.TRASH_DAYS = 0
    delete_version(actor=system_actor(), project=bob.project, model_name="m", ref=1)
    purge_models(actor=system_actor())
    made = ModelVersion.objects.get(model__project=bob.project)
    assert (made.origin, made.manifest.file_count, made.metrics.count()) == ({}, 0, 0)
    assert ModelVersion.objects.get(pk=version.pk).manifest.file_count == len(FILES)


def test_equal_files_are_looked_at_once_and_others_by_a_worker(
    ann: Person, bob: Person, version: ModelVersion
) -> None:
    bundle = export(ann)
    Inspection.objects.all().delete()
    assert send(bob, bundle).json()["status"] == "Pending"
    run_jobs()
    assert ModelVersion.objects.get(model__project=bob.project).status == VersionStatus.READY


def test_a_bundle_is_a_plain_zip_of_stored_files(ann: Person, version: ModelVersion) -> None:
    answer = ann.api.get(f"{ann.base}/models/m/versions/1/bundle")
    assert answer.headers["Content-Type"] == "application/zip"
    assert 'filename="m-v1.zip"' in answer.headers["Content-Disposition"]
    bundle = b"".join(answer.streaming_content)
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        assert opened.testzip() is None
        assert {entry.compress_type for entry in opened.infolist()} == {zipfile.ZIP_STORED}
        assert opened.namelist()[:2] == ["bundle.json", "signature.json"]
    found = entries(bundle)
    record = json.loads(found["bundle.json"])
    assert found["bundle.json"] == canonical(record)
    for file in record["manifest"]["files"]:
        assert hashlib.sha256(found["files/" + file["path"]]).hexdigest() == file["sha256"]
    assert AuditEntry.objects.get(verb="export_version").object_id == "m/1"


def test_only_a_ready_version_leaves(ann: Person) -> None:
    make_version(ann, "m", ready=False)
    answer = ann.api.get(f"{ann.base}/models/m/versions/1/bundle")
    assert (answer.status_code, answer.json()["code"]) == (409, "version_not_ready")


def test_a_bundle_of_another_server_needs_its_key_to_be_trusted(
    ann: Person, bob: Person, version: ModelVersion, settings: Any
) -> None:
    other = Ed25519PrivateKey.generate()
    settings.BUNDLE_SIGNING_KEY, settings.PUBLIC_URL = pem(other), "https://other.example.com"
    bundle = export(ann)
    assert ann.api.get("/api/v1/bundle-key").json()["public_key"] == public_text(other)
    settings.BUNDLE_SIGNING_KEY = ""

    refused = send(bob, bundle)
    assert (refused.status_code, refused.json()["code"]) == (409, "signer_unknown")
    assert public_text(other) in refused.json()["hint"]
    assert not RegisteredModel.objects.filter(project=bob.project).exists()

    settings.BUNDLE_TRUSTED_KEYS = (public_text(other),)
    made = send(bob, bundle)
    assert made.status_code == 201
    assert made.json()["origin"]["server"] == "https://other.example.com"
    assert made.json()["origin"]["signer"] == keys.PublicKey(public_text(other)).id


def test_the_own_key_is_made_once_and_private(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: keys.own_public_key().text, range(16)))
    assert len(found) == 1
    kept = tmp_path / "keys" / "bundle.pem"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in kept.parent.iterdir()] == ["bundle.pem"]


def test_who_may_export_and_import(ann: Person, bob: Person, version: ModelVersion) -> None:
    viewer = make_person(ann.project, Role.VIEWER)
    bundle = export(viewer)
    assert send(viewer, bundle).status_code == 403
    assert bob.api.get(f"{ann.base}/models/m/versions/1/bundle").status_code == 404
    assert bob.api.post(f"{ann.base}/bundles", bundle, content_type="application/zip").status_code == 404
    assert ann.api.get("/api/v1/bundle-key").status_code == 200
    ann.api.credentials()
    assert ann.api.get("/api/v1/bundle-key").status_code == 401
    assert RegisteredModel.objects.filter(name="m").count() == 1


# What is spoiled on the way


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


# Requests


def test_an_own_name_for_the_model(ann: Person, bob: Person, version: ModelVersion) -> None:
    bundle = export(ann)
    assert send(bob, bundle, "?model=theirs").json()["model_name"] == "theirs"
    assert [send(bob, bundle, "?model=theirs").json()["version"] for _ in range(2)] == [2, 3]
    for query in ("?model=a/b", "?model=", "?name=x"):
        refused = send(bob, bundle, query)
        assert refused.status_code == 400, query
        assert set(refused.json()["errors"]) <= {"model", "name"}


def test_one_key_imports_once(ann: Person, bob: Person, version: ModelVersion) -> None:
    bundle = export(ann)
    key = {"Idempotency-Key": "one"}
    assert [send(bob, bundle, **key).json()["version"] for _ in range(2)] == [1, 1]
    assert send(bob, bundle, "?model=other", **key).json()["code"] == "idempotency_key_reused"
    assert send(bob, export(ann), **key).json()["code"] == "idempotency_key_reused"
    assert ModelVersion.objects.filter(model__project=bob.project).count() == 1


def test_a_body_that_is_cut_short_or_too_large_or_no_zip(
    ann: Person, bob: Person, version: ModelVersion, settings: Any
) -> None:
    bundle = export(ann)
    for length in (1, 22, len(bundle) // 2, len(bundle) - 1):
        assert send(bob, bundle[:length]).status_code == 400
    cut = bob.api.post(
        f"{bob.base}/bundles",
        b"",
        content_type="application/zip",
        **{"wsgi.input": io.BytesIO(bundle), "CONTENT_LENGTH": str(len(bundle) + 1)},
    )
    assert (cut.status_code, cut.json()["code"]) == (400, "body_incomplete")
    assert bob.api.post(f"{bob.base}/bundles", {"a": 1}, format="json").status_code == 415
    settings.MAX_UPLOAD_BYTES = len(bundle) - 1
    assert send(bob, bundle).status_code == 413
    assert not RegisteredModel.objects.filter(project=bob.project).exists()


def test_commands_export_and_import(
    ann: Person, bob: Person, version: ModelVersion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.zip"
    call_command("export_bundle", "m", "best", str(path), "--project", "alpha")
    call_command("import_bundle", str(path), "--project", "beta", "--model", "theirs")
    assert capsys.readouterr().out.split() == [str(path), "beta/theirs/1"]
    made = ModelVersion.objects.get(model__project=bob.project)
    assert (made.created_by.username, made.created_by_door) == ("system", "command")
    for arguments in (
        ("import_bundle", str(path), "--project", "gamma"),
        ("import_bundle", str(tmp_path / "none"), "--project", "beta"),
        ("import_bundle", str(path), "--project", "beta", "--model", "a/b"),
        ("export_bundle", "m", "1", str(path), "--project", "alpha"),
        ("export_bundle", "m", "7", str(tmp_path / "x.zip"), "--project", "alpha"),
    ):
        with pytest.raises(CommandError):
            call_command(*arguments)
    assert [each.name for each in tmp_path.iterdir()] == ["m.zip"]


def test_the_directory_of_a_bundle_is_read_from_its_end(ann: Person, version: ModelVersion) -> None:
    bundle = ReadBundle(io.BytesIO(export(ann)))
    assert bundle.file_names() == {path.removeprefix("model/") for path in FILES}


def test_an_import_that_breaks_off_leaves_no_version(ann: Person, bob: Person, version: ModelVersion) -> None:
    found = entries(export(ann))
    found["files/w.txt"] = b"1 2 4"  # the last one in the list: the others are stored by then
    send(bob, packed(found))
    assert not RegisteredModel.objects.filter(project=bob.project).exists()
    assert not AuditEntry.objects.filter(project=bob.project).exists()


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_under_one_key_make_one_version(
    ann: Person, bob: Person, version: ModelVersion
) -> None:
    bundle = export(ann)

    def one(key: str) -> Any:
        try:
            return send(bob, bundle, **{"Idempotency-Key": key})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(one, ["same"] * 4 + ["b", "c"]))
    assert [a.status_code for a in answers] == [201] * 6
    assert len({a.json()["version"] for a in answers[:4]}) == 1
    assert ModelVersion.objects.filter(model__project=bob.project).count() == 3


def test_the_importing_project_holds_the_bytes_by_itself(
    ann: Person, bob: Person, version: ModelVersion
) -> None:
    send(bob, export(ann))
    assert Project.objects.get(slug="beta").blobs.count() == len(FILES)
