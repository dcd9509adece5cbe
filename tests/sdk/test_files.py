"""Files up and down: only what is missing, only what is right, nothing outside of the folder."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from podstack import DigestMismatch, MLOpsClient, PodstackWarning, ValidationError
from podstack.files import check_path
from tests.sdk.fake_server import DROPPED, Answer, FakeServer, P


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_and_a_folder_get_the_paths_that_mlflow_users_know(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "model.pt").write_bytes(b"weights")
    (tmp_path / "out" / "sub" / "empty").write_bytes(b"")
    with client.start_run("exp") as run:
        run.log_artifact(tmp_path / "out" / "model.pt")
        run.log_artifact(str(tmp_path / "out" / "model.pt"), artifact_path="checkpoints/best")
        run.log_artifact(tmp_path / "out", artifact_path="all")
        run.log_artifacts(tmp_path / "out")
        run.log_artifacts(tmp_path / "out", artifact_path="copy")
    paths = [file["path"] for file in server.files[run.id]]
    assert paths == [
        "model.pt",
        "checkpoints/best/model.pt",
        "all/out/model.pt",
        "all/out/sub/empty",
        "model.pt",
        "sub/empty",
        "copy/model.pt",
        "copy/sub/empty",
    ]
    assert server.blobs == {sha(b"weights"): b"weights", sha(b""): b""}
    assert len(server.requests("PUT")) == 2


def test_an_upload_that_breaks_is_sent_again(client: MLOpsClient, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x" * 3_000_000)
    server.fail("PUT", DROPPED)
    server.fail("PUT", Answer(503, b""))
    with client.start_run("exp") as run:
        run.log_artifact(tmp_path / "model.bin")
    assert len(server.requests("PUT")) == 3
    assert list(server.blobs.values()) == [b"x" * 3_000_000]


def test_many_files_are_asked_for_in_chunks_and_sent_once(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    for number in range(1100):
        (tmp_path / f"{number:04}").write_bytes(str(number % 1050).encode())
    server.blobs = {sha(str(n).encode()): b"" for n in range(1040)}
    with client.start_run("exp") as run:
        run.log_artifacts(tmp_path)
    assert len(server.requests("blobs/missing")) == 2
    assert len(server.requests("PUT")) == 10
    assert len(server.files[run.id]) == 1100


def test_memory_stays_flat(client: MLOpsClient, server: FakeServer, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(48 << 20)
    with (tmp_path / "big").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    server.fail("PUT", Answer(201, {}))
    with client.start_run("exp") as run:
        server.blobs[digest] = b""
        tracemalloc.start()
        try:
            run.log_artifact(tmp_path / "big")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 << 20


def test_a_file_that_changes_meanwhile_is_told(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"before")
    monkeypatch.setattr(
        "podstack.files._missing", lambda *a: file.write_bytes(b"AFTER!") and [sha(b"before")]
    )
    with client.start_run("exp") as run:
        with pytest.raises(ValidationError, match="changed while it was being uploaded"):
            run.log_artifact(file)
        monkeypatch.setattr("podstack.files._missing", lambda *a: file.write_bytes(b"") or [sha(b"AFTER!")])
        with pytest.raises(ValidationError, match="changed while it was being uploaded"):
            run.log_artifact(file)
    assert run.id not in server.files


def test_what_is_not_there_is_told(client: MLOpsClient, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with client.start_run("exp") as run:
        for missing in ("model.pt", "pipe"):
            with pytest.raises(ValidationError, match="There is no file"):
                run.log_artifact(tmp_path / missing)
        with pytest.raises(ValidationError, match="There is no folder"):
            run.log_artifacts(tmp_path / "nothing")
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        with pytest.warns(PodstackWarning, match="link to a folder"):
            run.log_artifacts(tmp_path)


BAD_PATHS = [
    "",
    ".",
    "..",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "C:/x",
    "c:x",
    "a\\b",
    "a\x00b",
    "a\nb",
    "a/..",
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="not a path"):
        check_path(path)


def test_an_artifact_path_that_leads_out_is_refused(client: MLOpsClient, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with client.start_run("exp") as run, pytest.raises(ValidationError, match="not a path"):
        run.log_artifact(tmp_path / "f", artifact_path="../up")


def test_a_version_is_downloaded_by_alias_and_not_twice(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    server.hold("model.skops", b"weights")
    server.hold("config/tokens ü#?.json", b"{}")
    target = client.download_model_version("m", "best", tmp_path / "models")
    assert (target / "model.skops").read_bytes() == b"weights"
    assert (target / "config" / "tokens ü#?.json").read_bytes() == b"{}"
    assert len(server.requests("artifacts/.+")) == 2
    (target / "config" / "tokens ü#?.json").write_bytes(b"changed")
    client.download_model_version("m", 1, tmp_path / "models")
    assert len(server.requests("artifacts/.+")) == 3
    assert (target / "config" / "tokens ü#?.json").read_bytes() == b"{}"


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "C:\\evil"])
def test_a_servers_path_that_leads_out_writes_nothing(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, path: str
) -> None:
    server.hold("good", b"good")
    server.hold(path, b"evil")
    with pytest.raises(ValidationError, match="not a path"):
        client.download_model_version("m", 1, tmp_path / "models")
    assert not (tmp_path / "models").exists()
    assert not server.requests("artifacts/.+")


def test_a_link_in_the_destination_leads_nowhere(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "sub").symlink_to(outside)
    server.hold("sub/deeper/file", b"evil")
    with pytest.raises(ValidationError, match="outside of"):
        client.download_model_version("m", 1, inside)
    assert not list(outside.iterdir())


def test_wrong_bytes_are_fetched_once_more_then_told(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    server.hold("model.skops", b"damaged", sha256=sha(b"weights"))
    (tmp_path / "model.skops").write_bytes(b"an older one")
    with pytest.raises(DigestMismatch, match=r"model.skops did not arrive"):
        client.download_model_version("m", 1, tmp_path)
    assert len(server.requests("artifacts/.+")) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["model.skops"]
    assert (tmp_path / "model.skops").read_bytes() == b"an older one"


def test_bytes_damaged_on_the_way_are_mended(client: MLOpsClient, server: FakeServer, tmp_path: Path) -> None:
    server.hold("model.skops", b"weights")
    server.fail("artifacts/model", Answer(200, b"wEights"))
    client.download_model_version("m", 1, tmp_path)
    assert (tmp_path / "model.skops").read_bytes() == b"weights"


def test_a_download_that_breaks_goes_on_where_it_broke(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    content = os.urandom(5 << 20)
    server.hold("model.bin", content)
    server.fail("artifacts/model", Answer(200, content, cut=3 << 20))
    server.fail("artifacts/model", DROPPED)
    client.download_model_version("m", 1, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == content
    ranges = [request.headers.get("Range") for request in server.requests(f"{P}.*artifacts/model")]
    assert ranges == [None, f"bytes={3 << 20}-", f"bytes={3 << 20}-"]


def test_a_listing_without_digests_is_not_trusted(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    server.listing = [{"path": "model.skops", "size": 1}]
    with pytest.raises(DigestMismatch, match="cannot be checked"):
        client.download_model_version("m", 1, tmp_path)
