"""A gate against the calls that turn data into code or markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = [
    "accounts",
    "approvals",
    "artifacts",
    "common",
    "config",
    "deployments",
    "gateway",
    "launcher",
    "lineage",
    "podstack",
    "registry",
    "scheduling",
    "tracking",
]
WORDS = re.compile(
    r"\b(import pickle|pickle\.loads?|joblib\.load|torch\.load|yaml\.load|eval\(|exec\(|shell=True|extractall"
    r"|mark_safe|csrf_exempt|filter\(\*\*request|__import__)"
)
ALLOWED = {
    ("common/templatetags/portal.py", "mark_safe"),  # what nh3 has cleaned, see tests/portal/test_markdown.py
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_dangerous_call_stands_in_the_platform(folder: str) -> None:
    found = {
        (str(path.relative_to(ROOT)), match.group())
        for path in (ROOT / folder).rglob("*.py")
        for match in WORDS.finditer(path.read_text())
    }
    assert found <= ALLOWED


def test_no_template_trusts_its_data_or_runs_a_script_of_its_own() -> None:
    bad = re.compile(
        r"\|\s*safe\b|autoescape off|<script(?![^>]*(src=|type=\"application/json\"))|\son[a-z]+=|\sstyle="
    )
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in (ROOT / "templates").rglob("*.html")
        for match in bad.finditer(path.read_text())
    }
    assert not found
