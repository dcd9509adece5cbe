"""A run's files through REST."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from common.errors import Invalid
from registry.services import create_version
from tests.factories import Person, make_person, make_project, send_json
from tracking import queries, services
from tracking.models import Run, RunFile

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture
def run(ann: Person) -> Run:
    return services.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")


def upload(person: Person, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    answer = person.api.generic(
        "PUT", f"{person.base}/blobs/{digest}", content, content_type="application/octet-stream"
    )
    assert answer.status_code == 200
    return digest


def commit(person: Person, run: Run, files: object):
    if isinstance(files, dict):
        files = [{"path": path, "sha256": digest} for path, digest in files.items()]
    return send_json(person, "post", f"{person.base}/runs/{run.public_id}/artifacts", {"files": files})


def listed(person: Person, run: Run, query: str = "") -> list[dict[str, Any]]:
    return person.api.get(f"{person.base}/runs/{run.public_id}/artifacts{query}").json()["results"]


def test_files_are_committed_listed_and_replaced(ann: Person, run: Run) -> None:
    one, two = upload(ann, b"one"), upload(ann, b"two!")
    assert commit(ann, run, {"model/a.pt": one, "log.txt": one}).json() == {"committed": 2}
    assert listed(ann, run) == [
        {"path": "log.txt", "size": 3, "sha256": one},
        {"path": "model/a.pt", "size": 3, "sha256": one},
    ]
    commit(ann, run, {"model/a.pt": two})
    assert listed(ann, run)[1] == {"path": "model/a.pt", "size": 4, "sha256": two}
    assert b"".join(ann.api.get(f"{ann.base}/runs/{run.public_id}/artifacts/model/a.pt")) == b"two!"
    whole = ann.api.get(f"{ann.base}/runs/{run.public_id}").json()
    assert (whole["artifact_count"], whole["artifact_bytes"]) == (2, 7)


def test_a_list_can_be_of_one_file_or_one_folder(ann: Person, run: Run) -> None:
    one = upload(ann, b"one")
    commit(ann, run, {"model/a": one, "model/b/c": one, "modelx": one, "m_del/a": one})
    assert [f["path"] for f in listed(ann, run, "?path=model")] == ["model/a", "model/b/c"]
    assert [f["path"] for f in listed(ann, run, "?path=model/")] == ["model/a", "model/b/c"]
    assert [f["path"] for f in listed(ann, run, "?path=model/a")] == ["model/a"]
    assert [f["path"] for f in listed(ann, run, "?path=m_del")] == ["m_del/a"]
    assert listed(ann, run, "?path=nothing") == []
    assert ann.api.get(f"{ann.base}/runs/{run.public_id}/artifacts?path=../x").status_code == 400


def test_bytes_that_were_not_uploaded_are_named_and_nothing_is_committed(ann: Person, run: Run) -> None:
    one, absent = upload(ann, b"one"), "0" * 64
    answer = commit(ann, run, {"a": one, "b": absent})
    assert (answer.status_code, answer.json()["code"]) == (400, "blob_missing")
    assert absent in answer.json()["detail"]
    assert "'b'" in answer.json()["detail"]
    assert listed(ann, run) == []


def test_bytes_of_another_project_cannot_be_taken_by_their_digest(ann: Person, run: Run) -> None:
    secret = upload(make_person(make_project("beta")), b"weights of beta")
    answer = commit(ann, run, {"stolen": secret})
    assert (answer.status_code, answer.json()["code"]) == (400, "blob_missing")
    assert listed(ann, run) == []


@pytest.mark.parametrize(
    "path", ["../a", "/a", "a/../b", "a\\b", "C:/x", "a\0", "", None, 5, "x" * 2000, "\ud800"]
)
def test_a_path_trick_is_refused_by_field(ann: Person, run: Run, path: object) -> None:
    answer = commit(ann, run, [{"path": path, "sha256": upload(ann, b"one")}])
    assert answer.status_code == 400
    assert "files.0.path" in answer.json()["errors"]
    assert not RunFile.objects.exists()


@pytest.mark.parametrize(
    ("files", "field"),
    [
        (None, "files"),
        ("x", "files"),
        ([1], "files.0"),
        ([{"path": "a"}], "files.0.sha256"),
        ([{"path": "a", "sha256": "x"}], "files.0.sha256"),
        ([{"path": "a", "sha256": None}], "files.0.sha256"),
        ([{"path": "a", "sha256": "0" * 64}, {"path": "a", "sha256": "1" * 64}], "files.1.path"),
        ([{"path": "a", "sha256": "0" * 64}] * 10_001, "files"),
    ],
)
def test_a_bad_list_is_refused_by_field(ann: Person, run: Run, files: object, field: str) -> None:
    answer = commit(ann, run, files)
    assert (answer.status_code, field in answer.json()["errors"]) == (400, True)


def test_a_path_is_a_file_or_a_folder_and_never_both(ann: Person, run: Run) -> None:
    one = upload(ann, b"one")
    assert commit(ann, run, {"a": one, "a/b": one}).json()["code"] == "file_is_a_folder"
    commit(ann, run, {"file": one, "folder/x": one})
    for path in ("file/x", "folder"):
        answer = commit(ann, run, {path: one})
        assert (answer.status_code, answer.json()["code"]) == (400, "file_is_a_folder")
    assert len(listed(ann, run)) == 2


@pytest.mark.django_db(transaction=True)
def test_file_and_folder_committed_at_once_do_not_both_get_in(ann: Person, run: Run) -> None:
    one = upload(ann, b"one")

    def work(path: str) -> int:
        try:
            return commit(ann, run, {path: one}).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(work, ["a", "a/b"] * 8))
    assert set(codes) == {200, 400}
    assert len(listed(ann, run)) == 1


def test_what_lies_under_a_path_is_found_as_file_and_as_folder(ann: Person, run: Run) -> None:
    one = upload(ann, b"one")
    commit(ann, run, {"model/weights.pt": one, "model/sub/x": one, "top.pt": one})
    assert list(queries.files_under(run, "top.pt")) == ["top.pt"]
    assert list(queries.files_under(run, "model/weights.pt")) == ["weights.pt"]
    assert sorted(queries.files_under(run, "model")) == ["sub/x", "weights.pt"]
    assert sorted(queries.files_under(run, "model/")) == ["sub/x", "weights.pt"]
    with pytest.raises(Invalid) as refusal:
        queries.files_under(run, "weights.pt")
    assert "'model', 'top.pt'" in refusal.value.hint
    for path in ("", ".", "..", "../model", "/model", "mod"):
        with pytest.raises(Invalid) as refusal:
            queries.files_under(run, path)
        assert list(refusal.value.fields) == ["artifact_path"]


def test_ten_thousand_files_are_committed_in_few_statements(
    ann: Person, run: Run, django_assert_max_num_queries
) -> None:
    digest = hashlib.sha256(b"one").hexdigest()
    upload(ann, b"one")
    actor = ann.actor
    files = [{"path": f"folder/{n}", "sha256": digest} for n in range(10_000)]
    with django_assert_max_num_queries(10):
        services.commit_files(actor=actor, project=ann.project, run_id=run.public_id, files=files)
    assert run.files.count() == 10_000


def test_files_are_listed_page_by_page_in_the_order_of_their_paths(ann: Person, run: Run) -> None:
    digest = upload(ann, b"one")
    long = "/".join(["\u6f22" * 80] * 4)  # 963 bytes, which the link to the next page holds
    paths = ["m/z.txt", "m/a/b.txt", f"m/{long}", "m/a-b.txt", "other.txt", "m/A.txt"]
    for path in paths:
        assert commit(ann, run, {path: digest}).status_code == 200
    version = create_version(
        actor=ann.actor,
        project=ann.project,
        model_name="m",
        source_run_id=run.public_id,
        artifact_path="m",
    )
    inside = sorted(path for path in paths if path != "other.txt")
    for address, wanted in (
        (f"runs/{run.public_id}/artifacts?page_size=2", sorted(paths)),
        (f"runs/{run.public_id}/artifacts?path=m/&page_size=1", inside),
        (f"models/m/versions/{version.number}/artifacts?page_size=2", [path[2:] for path in inside]),
    ):
        found, following = [], f"{ann.base}/{address}"
        while following:
            page = ann.api.get(following).json()
            found += [file["path"] for file in page["results"]]
            following = page["next"]
        assert found == wanted


def test_a_run_has_a_most_of_files(ann: Person, run: Run) -> None:
    digest = upload(ann, b"one")
    assert commit(ann, run, {"first": digest}).status_code == 200
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tracking_runfile (run_id, path, blob_id, created_at) "
            "SELECT run_id, n, blob_id, created_at FROM tracking_runfile, generate_series(2, 50000) AS n"
        )
    assert commit(ann, run, {"first": digest}).status_code == 200
    answer = commit(ann, run, {"first": digest, "last": digest})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_files")
    assert "50001 files; at most 50000" in answer.json()["detail"]
    assert run.files.count() == 50_000
