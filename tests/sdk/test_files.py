"""Files up and down: only what is missing, only what is right, nothing outside of the folder."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podstack import (
    DigestMismatch,
    MLOpsClient,
    NotFoundError,
    PermissionDeniedError,
    PodstackWarning,
    ValidationError,
)
from podstack.errors import ServerError
from podstack.files import check_path, digests, fetching, sha256_of
from tests.sdk.fake_server import DROPPED, Answer, FakeServer, P, problem


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
    assert len(server.requests("PUT|blobs/batch")) == 2


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
    assert not server.requests("PUT")
    assert [request.body.count(b" ") for request in server.requests("blobs/batch")] == [10]
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
        "podstack.files.sending._missing",
        lambda *a: file.write_bytes(b"AFTER!") and ([sha(b"before")], False),
    )
    with client.start_run("exp") as run:
        with pytest.raises(ValidationError, match="changed while it was being uploaded"):
            run.log_artifact(file)
        monkeypatch.setattr(
            "podstack.files.sending._missing", lambda *a: file.write_bytes(b"") or ([sha(b"AFTER!")], False)
        )
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
        with (
            pytest.warns(PodstackWarning, match="link to a folder"),
            pytest.warns(PodstackWarning, match="holds no files"),
        ):
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
    assert [request.json["paths"] for request in server.requests("read-artifacts")] == [
        ["model.skops", "config/tokens ü#?.json"]
    ]
    (target / "config" / "tokens ü#?.json").write_bytes(b"changed")
    client.download_model_version("m", 1, tmp_path / "models")
    assert len(server.requests("artifacts/.+")) == 1
    assert len(server.requests("read-artifacts")) == 1
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


def digests_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on in order to hash them."""
    read: list[str] = []
    real = digests._hashed

    def watched(path: Path, told: Callable[[int], object]) -> tuple[str, int]:
        read.append(path.name)
        return real(path, told)

    monkeypatch.setattr(digests, "_hashed", watched)
    return read


def make_old(path: Path, seconds: float = 60) -> None:
    before = time.time_ns() - int(seconds * 1e9)
    os.utime(path, ns=(before, before))


def test_an_unchanged_file_is_not_hashed_again(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"x" * 100_000)
    make_old(file)
    read = digests_read(monkeypatch)
    with client.start_run("exp") as run:
        run.log_artifact(file)
        run.log_artifact(file)
        assert read == ["model.bin"]
        assert len(server.requests("PUT")) == 1
        file.write_bytes(b"y" * 100_000)
        run.log_artifact(file)
        assert read == ["model.bin", "model.bin"]
    assert list(server.blobs.values()) == [b"x" * 100_000, b"y" * 100_000]


def test_a_file_that_changed_a_moment_ago_is_hashed_whatever_its_time_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"x" * 100_000)
    make_old(file)
    moment = file.stat().st_mtime_ns
    assert sha256_of(file)[0] == sha(b"x" * 100_000)
    file.write_bytes(b"y" * 100_000)
    os.utime(file, ns=(moment, moment))  # as a copy with its times does
    assert sha256_of(file)[0] == sha(b"y" * 100_000)
    file.write_bytes(b"z" * 100_000)
    read = digests_read(monkeypatch)
    assert [sha256_of(file)[0] for _ in range(2)] == [sha(b"z" * 100_000)] * 2
    assert read == ["model.bin", "model.bin"]


def test_what_is_remembered_is_its_owners_and_may_be_broken_or_gone(
    clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"x" * 100_000)
    make_old(file)
    sha256_of(file)
    cache = clean_environment / ".cache" / "podstack" / "digests.sqlite"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    cache.write_bytes(b"no database" * 1000)
    assert sha256_of(file)[0] == sha(b"x" * 100_000)
    monkeypatch.setenv("PODSTACK_CACHE_DIR", str(tmp_path / "model.bin" / "impossible"))
    assert sha256_of(file)[0] == sha(b"x" * 100_000)


def test_a_second_download_reads_and_fetches_nothing(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.hold("model.bin", b"x" * 300_000)
    client.download_model_version("m", 1, tmp_path / "models")
    read = digests_read(monkeypatch)
    client.download_model_version("m", 1, tmp_path / "models")
    assert read == []
    assert len(server.requests("artifacts/.+")) == 1
    (tmp_path / "models" / "model.bin").write_bytes(b"y" * 300_000)
    client.download_model_version("m", 1, tmp_path / "models")
    assert (tmp_path / "models" / "model.bin").read_bytes() == b"x" * 300_000


def test_a_download_goes_on_where_another_process_died(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    content = os.urandom(1 << 20)
    server.hold("model.bin", content)
    part = tmp_path / f".podstack-{sha(content)}.part"
    part.write_bytes(content[:700_000])
    client.download_model_version("m", 1, tmp_path)
    assert [r.headers["Range"] for r in server.requests("artifacts/model")] == ["bytes=700000-"]
    assert (tmp_path / "model.bin").read_bytes() == content
    assert not part.exists()


def test_what_an_interrupted_download_left_is_kept_for_the_next(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    content = os.urandom(1 << 20)
    server.hold("model.bin", content)
    server.fail("artifacts/model", Answer(206, content, cut=600_000))
    server.fail("artifacts/model", problem(403, "No."))
    with pytest.raises(PermissionDeniedError):
        client.download_model_version("m", 1, tmp_path)
    assert [path.name for path in tmp_path.glob(".podstack*")] == [f".podstack-{sha(content)}.part"]
    assert not (tmp_path / "model.bin").exists()
    client.download_model_version("m", 1, tmp_path)
    assert server.requests("artifacts/model")[-1].headers["Range"].startswith("bytes=")
    assert (tmp_path / "model.bin").read_bytes() == content


def test_a_part_with_wrong_bytes_is_thrown_away(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    content = os.urandom(1 << 20)
    server.hold("model.bin", content)
    for left in (b"\0" * 700_000, b"\0" * (1 << 20), b"\0" * (2 << 20)):
        (tmp_path / f".podstack-{sha(content)}.part").write_bytes(left)
        client.download_model_version("m", 1, tmp_path)
        assert (tmp_path / "model.bin").read_bytes() == content
        (tmp_path / "model.bin").unlink()


def test_two_downloads_of_one_file_at_once_both_end_well(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    content = os.urandom(3 << 20)
    for path in ("a.bin", "b.bin", "c.bin", "d.bin"):
        server.hold(path, content)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.download_model_version("m", 1, tmp_path), range(4)))
    assert {p.name: sha(p.read_bytes()) for p in tmp_path.iterdir() if p.is_file()} == {
        name: sha(content) for name in ("a.bin", "b.bin", "c.bin", "d.bin")
    }


def test_a_big_file_over_a_slow_connection_comes_in_parallel_parts(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "BIG", 2 << 20)
    monkeypatch.setattr(fetching, "TRIAL", 1 << 20)
    monkeypatch.setattr(fetching, "PART", 1 << 20)
    monkeypatch.setattr(fetching, "FAST", 1 << 60)
    content = os.urandom((9 << 20) + 123)
    server.hold("model.bin", content)
    client.download_model_version("m", 1, tmp_path / "models")
    assert (tmp_path / "models" / "model.bin").read_bytes() == content
    ranges = sorted(r.headers.get("Range", "") for r in server.requests("artifacts/model"))
    assert ranges[0] == "" and len(ranges) == 10
    assert "bytes=1048576-2097151" in ranges and f"bytes={9 << 20}-{(9 << 20) + 122}" in ranges


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ("model.onnx", ["model.onnx"]),
        (["config"], ["config/a.json", "config/deep/b.json"]),
        (["config/"], ["config/a.json", "config/deep/b.json"]),
        (["*.onnx"], ["model.onnx", "sub/other.onnx"]),
        (["config/*.json"], ["config/a.json"]),
        (["config/**"], ["config/a.json", "config/deep/b.json"]),
        (["config/**/*.json", "model.onnx"], ["model.onnx", "config/a.json", "config/deep/b.json"]),
        (["**"], ["model.onnx", "sub/other.onnx", "config/a.json", "config/deep/b.json", "odd[1].txt"]),
        (["odd[1].txt"], ["odd[1].txt"]),
    ],
)
def test_chosen_files_are_downloaded_and_no_others(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, paths: list[str], names: list[str]
) -> None:
    for path in ("model.onnx", "sub/other.onnx", "config/a.json", "config/deep/b.json", "odd[1].txt"):
        server.hold(path, path.encode())
    client.download_model_version("m", 1, tmp_path / "m", paths=paths)
    found = {p.relative_to(tmp_path / "m").as_posix() for p in (tmp_path / "m").rglob("*") if p.is_file()}
    assert found == set(names)


def test_a_pattern_that_fits_nothing_is_told_before_anything_is_written(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    server.hold("model.onnx", b"x")
    with pytest.raises(NotFoundError, match=r"no file \*\.pt"):
        client.download_model_version("m", 1, tmp_path / "m", paths=["*.onnx", "*.pt"])
    assert not (tmp_path / "m").exists()


def test_a_thousand_small_files_take_few_requests_each_way(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    for number in range(1000):
        content = os.urandom(1000)
        (tmp_path / f"{number:04}").write_bytes(content)
        server.hold(f"{number:04}", content)
    with client.start_run("exp") as run:
        run.log_artifacts(tmp_path)
    assert len(server.requests("blobs")) <= 6
    client.download_model_version("m", 1, tmp_path / "models")
    assert len(server.requests("read-artifacts")) == 4
    assert not server.requests("artifacts/.+")
    assert all(
        (tmp_path / "models" / f"{n:04}").read_bytes() == server.stored[f"{n:04}"] for n in range(1000)
    )


def test_a_small_file_damaged_on_the_way_is_fetched_again_and_a_cut_answer_is_told(
    client: MLOpsClient, server: FakeServer, tmp_path: Path
) -> None:
    server.hold("a", b"aaaa")
    server.hold("b", b"bbbb")
    damaged = f"{sha(b'aaaa')} 4\naaXa{sha(b'bbbb')} 4\nbbbb".encode()
    server.fail("read-artifacts", Answer(200, damaged))
    client.download_model_version("m", 1, tmp_path / "one")
    assert (tmp_path / "one" / "a").read_bytes() == b"aaaa"
    server.fail("read-artifacts", Answer(200, damaged[:-2]))
    with pytest.raises(ServerError, match="files that were asked for"):
        client.download_model_version("m", 1, tmp_path / "two")
    assert not (tmp_path / "two" / "b").exists()
