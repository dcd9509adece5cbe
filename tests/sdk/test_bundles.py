"""Versions on their way to another project or server."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from podstack import ConflictError, DigestMismatch, MLOpsClient, ValidationError
from tests.sdk.fake_server import DROPPED, Answer, FakeServer, problem


def make_bundle(content: bytes, listed: bytes | None = None) -> bytes:
    """A bundle of one file; `listed` is what the list takes it for."""
    digest = hashlib.sha256(content if listed is None else listed).hexdigest()
    record = {"manifest": {"files": [{"path": "w.bin", "size": len(content), "sha256": digest}]}}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        bundle.writestr("bundle.json", json.dumps(record))
        bundle.writestr("files/w.bin", content)
    return out.getvalue()


def test_a_bundle_arrives_whole_after_a_broken_connection(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    server.stored["bundle"] = make_bundle(b"x" * 100_000)
    server.fail("GET .*bundle", Answer(200, server.stored["bundle"], cut=50_000))
    server.fail("GET .*bundle", DROPPED)
    path = client.export_model_version("m", 1, tmp_path / "new" / "m.zip")
    assert path.read_bytes() == server.stored["bundle"]
    assert [each.name for each in path.parent.iterdir()] == ["m.zip"]
    assert len(server.requests("GET .*bundle")) == 3


@pytest.mark.parametrize("content", [make_bundle(b"1 2 3", b"1 2 4"), make_bundle(b"1")[:-30], b"", b"[]"])
def test_a_bundle_that_is_not_whole_is_no_file(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, content: bytes
) -> None:
    server.stored["bundle"] = content
    (tmp_path / "m.zip").write_bytes(b"the one before")
    with pytest.raises(DigestMismatch):
        client.export_model_version("m", 1, tmp_path / "m.zip")
    assert (tmp_path / "m.zip").read_bytes() == b"the one before"
    assert [each.name for each in tmp_path.iterdir() if each.name != "home"] == ["m.zip"]


def test_a_folder_is_no_bundle(client: MLOpsClient, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="folder"):
        client.export_model_version("m", 1, tmp_path)
    with pytest.raises(ValidationError, match="no file"):
        client.import_model_version(tmp_path / "none.zip")


def test_an_import_that_breaks_is_sent_again_under_one_key(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "m.zip"
    path.write_bytes(make_bundle(b"x" * 3_000_000))
    server.fail("POST .*bundles", DROPPED, after_doing=True)
    server.fail("POST .*bundles", Answer(503, b""))
    version = client.import_model_version(path, model_name="theirs")
    assert (version.model_name, version.version) == ("theirs", 1)
    assert server.stored["imported"] == path.read_bytes()
    sent = server.requests("POST .*bundles")
    assert len(sent) == 3
    assert len({each.key for each in sent}) == 1
    assert {each.headers["Content-Type"] for each in sent} == {"application/zip"}
    assert [each.query for each in sent] == [{"model": ["theirs"]}] * 3


def test_an_unknown_signer_is_a_conflict(client: MLOpsClient, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(b"x")
    server.fail("POST .*bundles", problem(409, "Not trusted.", "Add abc=.", "signer_unknown"))
    with pytest.raises(ConflictError, match="Add abc=") as caught:
        client.import_model_version(tmp_path / "m.zip")
    assert caught.value.code == "signer_unknown"


def test_a_copy_says_where_to(client: MLOpsClient, server: FakeServer) -> None:
    made = client.copy_model_version("m", 1, "beta", to_model="theirs")
    assert made.origin == {"to_project": "beta", "to_model": "theirs"}
    assert client.copy_model_version("m", 1, "beta").origin == {"to_project": "beta"}
