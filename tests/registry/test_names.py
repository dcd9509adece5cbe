"""Names that people choose and addresses that they make of them."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from accounts.models import Membership
from common.links import absolute
from tests.factories import Person, make_person, make_project, make_run, make_version, send_json
from tests.structure.operations import CONTENT, SHA256

pytestmark = pytest.mark.django_db

ODD_NAMES = [
    *(
        "a b",
        "50%",
        "what?",
        "c#",
        "a+b",
        "modèle",
        "模型",
        "🌸",
        "v1.2",
        "...",
        "..a",
        "a..",
        "-",
        "~",
        "@me",
        "a&b=c",
    ),
    *(
        "%2e%2e",
        "%00",
        "a%2Fb",
        "a;b",
        "a,b",
        "'quoted'",
        '"q"',
        "<b>",
        "{x}",
        "$HOME",
        "`id`",
        "a\\b",
        "*",
        "null",
    ),
    *("versions", "aliases", "compare", "x" * 200, "é" * 200),
]


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_model_is_found_by_the_name_it_was_given(ann: Person, name: str) -> None:
    made = ann.api.post(f"{ann.base}/models", {"name": name}, format="json")
    assert made.status_code == 201, made.json()
    address = f"{ann.base}/models/{quote(name, safe='')}"
    found = ann.api.get(address)
    assert (found.status_code, found.json()["name"]) == (200, name)
    assert ann.api.patch(address, {"description": "d"}, format="json").status_code == 200
    assert ann.api.get(f"{address}/versions").json()["results"] == []
    ann.api.force_login(ann.user)
    page = found.json()["url"].removeprefix("http://127.0.0.1:8000")
    ann.api.credentials()
    assert ann.api.get(page).status_code == 200, page


@pytest.mark.parametrize(
    "name", ["..", ".", "", " ", "a/b", "a:b", "a\nb", "a\x00b", "\ud800", "\x7f", "x" * 201, None, [], {}]
)
def test_a_name_that_no_address_could_carry_is_refused(ann: Person, name: object) -> None:
    answer = send_json(ann, "post", f"{ann.base}/models", {"name": name})
    assert answer.status_code == 400 and "name" in answer.json()["errors"]
    run = make_run(ann, {"a.txt": b"1"})
    if name in ("..", ".", " ", "a:b", "a\nb"):
        address = f"{ann.base}/models/{quote(str(name), safe='')}/versions"
        body = {"source_run_id": run.public_id, "artifact_path": "a.txt"}
        assert ann.api.post(address, body, format="json").status_code == 400


@pytest.mark.parametrize("alias", ["1", "007", "v1", "v007", "latest", "..", "a.b", "a b", "é", "٣", "a\n"])
def test_an_alias_that_could_be_taken_for_a_number_is_refused(ann: Person, alias: str) -> None:
    make_version(ann, "m")
    address = f"{ann.base}/models/m/aliases/{quote(alias, safe='')}"
    answer = ann.api.put(address, {"version": 1}, format="json")
    assert answer.status_code == 400 and "alias" in answer.json()["errors"], answer.json()
    assert ann.api.get(address).status_code == 404


@pytest.mark.parametrize("key", ["a/b", "a/b/c", "a%b", "a b", "é", "a.b", "tags"])
def test_an_annotation_of_any_key_can_be_set_and_removed(ann: Person, key: str) -> None:
    version = make_version(ann, "m")
    address = f"{ann.base}/models/m/versions/{version.number}"
    tag = f"{address}/tags/{quote(key, safe='')}"
    assert ann.api.put(tag, {"value": "v"}, format="json").json() == {"key": key, "value": "v"}
    assert ann.api.get(address).json()["tags"] == {key: "v"}
    assert ann.api.delete(tag).status_code == 204


def test_things_of_another_project_are_not_there(ann: Person) -> None:
    """Even for a member of both: the address says which project is meant."""
    beta = make_project("beta")
    Membership.objects.create(project=beta, user=ann.user, role="admin")
    version = make_version(ann, "m", files={"model/weights.txt": CONTENT})
    run = version.source_run.public_id
    other = "/api/v1/projects/beta"
    for path in (f"runs/{run}", "models/m", f"experiments/{version.source_run.experiment.public_id}"):
        assert ann.api.get(f"{ann.base}/{path}").status_code == 200
        assert ann.api.get(f"{other}/{path}").status_code == 404
    body = {"source_run_id": run, "artifact_path": "model"}
    assert ann.api.post(f"{other}/models/m/versions", body, format="json").status_code == 404
    assert (
        ann.api.post(f"{other}/runs", {"experiment_id": "e", "parent_run_id": run}, format="json").status_code
        == 404
    )
    taken = ann.api.post(f"{other}/runs", {"experiment_id": "e", "id": run}, format="json")
    assert taken.status_code in (201, 409) and taken.json().get("experiment_name") != "exp"


def test_a_digest_alone_gives_nobody_another_project_s_bytes(ann: Person) -> None:
    make_version(ann, "m", files={"model/weights.txt": CONTENT})
    bob = make_person(make_project("beta"))
    missing = bob.api.post(f"{bob.base}/blobs/missing", {"sha256": [SHA256]}, format="json")
    assert missing.json()["missing"] == [SHA256]
    run = bob.api.post(f"{bob.base}/runs", {"experiment_id": "e"}, format="json").json()["id"]
    files = {"files": [{"path": "stolen.txt", "sha256": SHA256}]}
    answer = bob.api.post(f"{bob.base}/runs/{run}/artifacts", files, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "blob_missing")
    claimed = bob.api.generic("PUT", f"{bob.base}/blobs/{SHA256}", b"other bytes")
    assert (claimed.status_code, claimed.json()["code"]) == (400, "digest_mismatch")
    assert bob.api.post(f"{bob.base}/runs/{run}/artifacts", files, format="json").status_code == 400


def test_paths_that_differ_in_case_or_form_stay_two_files(ann: Person) -> None:
    files = {"m/Weights.txt": b"1", "m/weights.txt": b"2", "m/é.txt": b"3", "m/e\u0301.txt": b"4"}
    make_version(ann, "m", files=files)
    base = f"{ann.base}/models/m/versions/1/artifacts"
    listed = {file["path"] for file in ann.api.get(base).json()["results"]}
    assert listed == {path.removeprefix("m/") for path in files}
    for path, content in files.items():
        got = ann.api.get(f"{base}/{quote(path.removeprefix('m/'))}")
        assert b"".join(got.streaming_content) == content


@pytest.mark.parametrize(
    "name", ["plain", "a b", "ünïcode", "50%", "a+b=c;d", "q?x#y", "it's (1)", 'say "hi"', "a\\b"]
)
def test_the_address_in_an_answer_is_the_page_of_the_model(ann: Person, name: str) -> None:
    made = ann.api.post(f"{ann.base}/models", {"name": name}, format="json").json()
    assert made["url"] == absolute("registry:model", ann.project.slug, name)


@pytest.mark.parametrize(
    ("name", "told"),
    [("Übung", "'Übung'"), ("模型", "'模型'"), ("שלום", r"'\u05e9\u05dc\u05d5\u05dd'"), ("３", r"'\uff13'")],
)
def test_a_sentence_says_a_name_as_it_is_written_and_nothing_turns_it_around(
    ann: Person, name: str, told: str
) -> None:
    found = ann.api.get(f"{ann.base}/models/{quote(name)}").json()
    assert found["detail"].startswith(f"There is no model {told} in alpha.")
