"""A version's files in the portal: previews that are never run, and zips that are made while they are sent."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from typing import Any

import pytest

from accounts.choices import Role
from tests.factories import Person, browser, make_person, make_project, make_version

pytestmark = pytest.mark.django_db
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000000000200015e93a6f60000000049454e44ae426082"
)
FILES = {
    "m/config.json": b'{"b": 1, "a": [1, 2]}',
    "m/rows.csv": b"name,score\n<script>alert(1)</script>,=1+1\n",
    "m/note.txt": "größer \u202e <b>x</b>".encode(),
    "m/logo.png": PNG,
    "m/fake.png": b"<svg onload=alert(1)>",
    "m/page.html": b"<script>alert(1)</script>",
    "m/weights.bin": bytes(range(256)) * 40,
    "m/empty": b"",
    "m/sub dir/\u00e4.txt": b"umlaut",
}


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), username="ann")
    make_version(person, "iris", files=FILES)
    return person


def get(person: Person, where: str, /, **query: Any):
    return browser(person).get(f"/projects/alpha/models/iris/versions/1/{where}", query)


def shown(person: Person, path: str) -> str:
    answer = get(person, f"preview/{path}")
    assert answer.status_code == 200, path
    return str(answer.content.decode())


def test_text_is_shown_as_text(ann: Person) -> None:
    assert "&lt;b&gt;x&lt;/b&gt;" in shown(ann, "note.txt")
    assert "<script>alert(1)" not in shown(ann, "page.html")
    assert "&quot;b&quot;: 1,\n" in shown(ann, "config.json")
    assert "umlaut" in shown(ann, "sub dir/\u00e4.txt")


def test_a_table_is_shown_as_one(ann: Person) -> None:
    page = shown(ann, "rows.csv")
    assert '<th scope="col" class="cut" title="name">name</th>' in page
    assert "<script>alert(1)" not in page


def test_an_image_is_one_by_its_first_bytes_alone(ann: Person) -> None:
    assert 'src="?raw"' in shown(ann, "logo.png")
    answer = get(ann, "preview/logo.png", raw="")
    assert (answer.status_code, answer["Content-Type"], answer.content) == (200, "image/png", PNG)
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert 'src="?raw"' not in shown(ann, "fake.png")
    assert get(ann, "preview/fake.png", raw="").status_code == 404
    assert get(ann, "preview/page.html", raw="").status_code == 404


def test_what_cannot_be_shown_says_why_and_offers_the_download(ann: Person) -> None:
    page = shown(ann, "weights.bin")
    assert "No preview" in page
    assert "files/weights.bin" in page
    assert "The file is empty." in shown(ann, "empty")
    assert get(ann, "preview/none.txt").status_code == 404


def test_of_a_large_text_the_beginning_is_shown(ann: Person) -> None:
    make_version(ann, "long", files={"m/log.txt": ("\u00e4" * (1 << 20)).encode()})
    answer = browser(ann).get("/projects/alpha/models/long/versions/1/preview/log.txt")
    assert "The beginning is shown" in answer.content.decode()


def unzipped(answer: Any) -> dict[str, bytes]:
    content = b"".join(answer.streaming_content)
    assert len(content) == int(answer["Content-Length"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_json_that_would_be_far_longer_with_a_line_for_each_value_is_shown_as_it_is(ann: Person) -> None:
    deep = b"[" * 400 + b"0," * 20_000 + b"0" + b"]" * 400
    make_version(ann, "deep", files={"m/deep.json": deep})
    answer = browser(ann).get("/projects/alpha/models/deep/versions/1/preview/deep.json").content
    assert b"0,0,0,0" in answer
    assert len(answer) < 3 * len(deep)


def test_all_files_come_as_one_zip(ann: Person) -> None:
    answer = get(ann, "download/")
    assert answer["Content-Disposition"] == 'attachment; filename="iris-v1.zip"'
    assert unzipped(answer) == {path.removeprefix("m/"): content for path, content in FILES.items()}


def test_chosen_files_come_as_one_zip_and_unknown_ones_are_refused(ann: Person) -> None:
    found = unzipped(get(ann, "download/", path=["config.json", "sub dir/\u00e4.txt"]))
    assert set(found) == {"config.json", "sub dir/\u00e4.txt"}
    assert get(ann, "download/", path=["config.json", "../secret"]).status_code == 404
    many = get(ann, "download/", path=[f"folder-{number}/" for number in range(101)])
    assert many.status_code == 400
    assert "path names 101 folders; name at most 100." in many.content.decode()


def test_a_large_zip_takes_no_memory(ann: Person) -> None:
    content = bytes(48 << 20)
    make_version(ann, "large", files={"m/a.bin": content, "m/b.bin": content[:-1]})
    del content
    answer = browser(ann).get("/projects/alpha/models/large/versions/1/download/")
    tracemalloc.start()
    try:
        size = sum(map(len, answer.streaming_content))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == int(answer["Content-Length"]) > 96 << 20
    assert peak < 16 << 20


def test_the_version_page_offers_a_choice_and_a_preview(ann: Person) -> None:
    page = get(ann, "").content.decode()
    assert "Download as zip" in page
    assert 'name="path" value="config.json"' in page
    assert "preview/config.json" in page
    assert "podstack versions download iris/1" in page


def test_a_viewer_downloads_and_a_stranger_finds_nothing(ann: Person) -> None:
    viewer = make_person(ann.project, Role.VIEWER)
    stranger = make_person(make_project("beta"))
    for path in ("download/", "preview/config.json", "preview/logo.png"):
        assert get(viewer, path).status_code == 200
        assert get(stranger, path).status_code == 404


def test_folders_are_a_tree_and_are_downloaded_whole(ann: Person) -> None:
    page = get(ann, "").content.decode()
    assert 'aria-label="Choose the folder sub dir/"' in page
    assert page.count('class="tree"') == 2
    answer = get(ann, "download/", path="sub dir/")
    content = io.BytesIO(b"".join(answer.streaming_content))
    assert zipfile.ZipFile(content).namelist() == ["sub dir/\u00e4.txt"]
    both = get(ann, "download/", path=["sub dir/", "empty"])
    content = io.BytesIO(b"".join(both.streaming_content))
    assert sorted(zipfile.ZipFile(content).namelist()) == ["empty", "sub dir/\u00e4.txt"]
    assert get(ann, "download/", path="sub/").status_code == 404
    assert get(ann, "download/", path="a\0/").status_code == 404


def test_a_flat_version_is_a_table(ann: Person) -> None:
    make_version(ann, "flat", files={"m/a.txt": b"1", "m/b.txt": b"2"})
    page = browser(ann).get("/projects/alpha/models/flat/versions/1/").content.decode()
    assert 'class="tree"' not in page
    assert page.count("Choose ") >= 2
