"""What the documents name is there: `make` targets, files, folders and headings. (README's code: tests/e2e.)"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# The specification came as it is; its links lead to pages of its own house.
SPECIFICATION = ROOT / "docs" / "specification.md"
PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").rglob("*.md")} - {SPECIFICATION})]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^ {4}|`)make ([a-z][a-z-]*)", re.MULTILINE)
FOLDER = re.compile(r"`([a-z_]+)/`")
ADDRESS = re.compile(r"[a-z]+:")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    assert set(COMMAND.findall(text)) <= TARGETS
    for link in LINK.findall(text):
        if ADDRESS.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_s_folders_are_there() -> None:
    folders = FOLDER.findall((ROOT / "README.md").read_text())
    assert len(folders) > 10
    assert not [name for name in folders if name != "var" and name != "api" and not (ROOT / name).is_dir()]
