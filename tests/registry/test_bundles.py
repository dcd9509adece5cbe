"""Versions as signed bundles: out of one project or server, into another."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
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
from registry import keys, services
from registry.bundle_files import ReadBundle, canonical
from registry.choices import Relation, VersionStatus
from registry.models import Inspection, ModelVersion, RegisteredModel, StageTransition, VersionMetric
from registry.trash import delete_version, purge_models
from tests.factories import Person, add_files, make_person, make_version, run_jobs
from tests.registry.bundling import FILES, entries, export, packed, public_text, send
from tracking import services as tracking_verbs

pytestmark = pytest.mark.django_db


def pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


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
