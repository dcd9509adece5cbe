"""Pinning lists of files, and bringing them to a folder."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connections

from artifacts import services
from artifacts.errors import BytesLost, StoreFull
from artifacts.models import Blob, Manifest, ManifestFile
from artifacts.store import LocalStore, blob_store, key_of
from common.errors import Invalid
from tests.factories import Person, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"))


def blob(person: Person, content: bytes) -> Blob:
    digest = hashlib.sha256(content).hexdigest()
    stream = io.BytesIO(content)
    return services.store_blob(
        actor=person.actor, project=person.project, sha256=digest, stream=stream, size=len(content)
    )


def test_equal_files_at_equal_paths_are_one_manifest(ann: Person) -> None:
    one, two = blob(ann, b"one"), blob(ann, b"two!")
    first = services.make_manifest({"b": one, "a/c": two})
    assert (first.file_count, first.total_size) == (2, 7)
    assert services.make_manifest({"a/c": two, "b": one}).pk == first.pk
    assert services.make_manifest({"a/c": one, "b": two}).pk != first.pk
    lines = sorted([f"{one.sha256} 3 b\n", f"{two.sha256} 4 a/c\n"])
    assert first.digest == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("paths", [[], ["../a"], ["/a"], ["a\nb"], ["a", "a/b"]])
def test_a_manifest_takes_no_bad_paths(ann: Person, paths: list[str]) -> None:
    one = blob(ann, b"one")
    with pytest.raises(Invalid):
        services.make_manifest(dict.fromkeys(paths, one))
    assert not Manifest.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_manifest_made_at_once_is_whole_for_everybody(ann: Person) -> None:
    files = {f"{n}.txt": blob(ann, str(n).encode()) for n in range(20)}

    def one(_: int) -> tuple[int, int]:
        try:
            manifest = services.make_manifest(files)
            return manifest.pk, manifest.files.count()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(16)))) == 1
    assert ManifestFile.objects.count() == 20


def test_a_folder_gets_all_files_read_only(ann: Person, tmp_path: Path) -> None:
    manifest = services.make_manifest({"a.txt": blob(ann, b"a"), "sub/b.txt": blob(ann, b"b")})
    folder = tmp_path / "deep" / "model"
    services.materialize(manifest, folder)
    assert (folder / "a.txt").read_bytes() == b"a"
    assert (folder / "sub" / "b.txt").read_bytes() == b"b"
    assert stat.S_IMODE((folder / "a.txt").stat().st_mode) == 0o444
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_equal_files_lie_on_the_disk_once_where_nobody_writes(ann: Person, tmp_path: Path) -> None:
    same = blob(ann, b"a")
    manifest = services.make_manifest({"a.txt": same, "again/a.txt": same, "b.txt": blob(ann, b"b")})
    services.materialize(manifest, tmp_path / "read", links=True)
    services.materialize(manifest, tmp_path / "written")
    for name, count in {"read": 2, "written": 3}.items():
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert sorted(path.read_bytes() for path in files) == [b"a", b"a", b"b"]
        assert len({path.stat().st_ino for path in files}) == count


def test_files_are_brought_only_where_the_disk_keeps_its_reserve(ann: Person, tmp_path: Path) -> None:
    manifest = services.make_manifest({"a.txt": blob(ann, b"a")})
    disk = shutil.disk_usage(tmp_path)
    reserve = min(services.RESERVE, disk.total // 20)
    Blob.objects.update(size=disk.free - reserve // 2)
    with pytest.raises(
        StoreFull, match=r"^The files need .+, and their disk has .+ free, of which .+ must stay"
    ):
        services.materialize(manifest, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_when_whole_and_made_anew_when_not(
    ann: Person, tmp_path: Path
) -> None:
    manifest = services.make_manifest({"a.txt": blob(ann, b"abc"), "b.txt": blob(ann, b"b")})
    folder = tmp_path / "model"
    services.materialize(manifest, folder)
    before = folder.stat().st_ino
    services.materialize(manifest, folder)
    assert folder.stat().st_ino == before
    (folder / "a.txt").unlink()
    (folder / "a.txt").write_bytes(b"")
    services.materialize(manifest, folder)
    assert (folder / "a.txt").read_bytes() == b"abc"


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_changed_or_lost_bytes_never_reach_a_folder(ann: Person, tmp_path: Path, damage: str) -> None:
    file = blob(ann, b"original")
    manifest = services.make_manifest({"a.txt": file})
    store = blob_store()
    assert isinstance(store, LocalStore)
    path = store.root / key_of(file.sha256)
    path.chmod(0o600)
    path.unlink() if damage == "gone" else path.write_bytes(b"modified")
    with pytest.raises(BytesLost, match=file.sha256):
        services.materialize(manifest, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lies_there", ["nothing", "half"])
@pytest.mark.django_db(transaction=True)
def test_many_may_bring_the_same_files_at_once(ann: Person, tmp_path: Path, lies_there: str) -> None:
    manifest = services.make_manifest({f"{n}.txt": blob(ann, str(n).encode()) for n in range(20)})
    if lies_there == "half":
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "1.txt").touch()

    def one(_: int) -> None:
        try:
            services.materialize(manifest, tmp_path / "model")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    assert len(list((tmp_path / "model").iterdir())) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
