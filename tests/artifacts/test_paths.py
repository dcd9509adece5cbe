"""Which paths a file may have."""

from __future__ import annotations

import pytest

from artifacts.paths import check_path, file_that_is_a_folder
from common.errors import Invalid

GOOD = [
    "a",
    "model/weights.pt",
    "a b/c-d_e.f",
    "模型/权重.pt",
    ".hidden",
    "..a/b..",
    "%2e%2e/x",
    "x" * 255,
    "/".join(["abc"] * 256),
    "name: with colon",
]
BAD = [
    "",
    "/",
    "/etc/passwd",
    "a/",
    "a//b",
    ".",
    "..",
    "./a",
    "a/.",
    "../a",
    "a/../b",
    "a/..",
    "a\\b",
    "..\\a",
    "C:/a",
    "c:a",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "a\ud800b",
    "x" * 256,
    "é" * 128,
    "/".join(["abc"] * 257),
    None,
    1,
    ["a"],
    b"a",
]


@pytest.mark.parametrize("path", GOOD)
def test_a_relative_path_is_taken_as_it_is(path: str) -> None:
    assert check_path("path", path) == path


@pytest.mark.parametrize("path", BAD)
def test_a_path_that_could_lead_elsewhere_is_refused_by_name(path: object) -> None:
    with pytest.raises(Invalid) as refusal:
        check_path("files.0.path", path)
    assert list(refusal.value.fields) == ["files.0.path"]
    refusal.value.message.encode()


@pytest.mark.parametrize(
    ("new", "present", "clash"),
    [
        (["a", "b/c"], [], None),
        (["a", "a/b"], [], ("a", "a/b")),
        (["a/b/c"], ["a"], ("a", "a/b/c")),
        (["a"], ["a/b/c"], ("a", "a/b/c")),
        (["ab"], ["a/b", "abc"], None),
    ],
)
def test_one_path_cannot_be_file_and_folder(
    new: list[str], present: list[str], clash: tuple[str, str] | None
) -> None:
    assert file_that_is_a_folder(new, present) == clash
