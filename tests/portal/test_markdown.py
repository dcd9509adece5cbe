"""Descriptions are Markdown, and nothing but Markdown."""

from __future__ import annotations

import pytest
from django.test import Client

from common.templatetags.portal import markdown
from registry.services import register_model
from tests.factories import make_person, make_project


def test_markdown_becomes_clean_html() -> None:
    shown = markdown(
        "# Data\n\n**bold** `code`\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n- [site](https://example.com)\n"
    )
    for part in ("<h1>Data</h1>", "<strong>bold</strong>", "<code>code</code>", "<td>1</td>", "<li>"):
        assert part in shown
    assert 'rel="noopener noreferrer nofollow"' in shown


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "![x](https://evil.example.com/pixel.png)",
        '<a href="https://x" onclick="alert(1)">x</a>',
        "<style>body{display:none}</style>",
        '[x](https://example.com "" onmouseover=alert(1))',
        "<iframe src=https://evil.example.com></iframe>",
    ],
)
def test_nothing_that_acts_gets_through(text: str) -> None:
    shown = markdown(text)
    for bad in ("<script", "<img", "<iframe", "<style", 'href="javascript', 'href="data', "<a onclick"):
        assert bad not in shown, shown
    assert " onclick=" not in shown.replace("&quot;", '"') or "&lt;a" in shown
    assert " onerror=" not in shown or "&lt;img" in shown


def test_long_and_deep_texts_end() -> None:
    for text in ("x" * 10_000, "> " * 2000 + "x", "- " * 2000, "[" * 5000, "*" * 10_000, "| a " * 2000):
        assert isinstance(markdown(text), str)


@pytest.mark.django_db
def test_the_models_page_shows_its_description_as_markdown() -> None:
    ann = make_person(make_project("alpha"))
    register_model(actor=ann.actor, project=ann.project, name="m", description="**good** <b>no</b>")
    client = Client()
    client.force_login(ann.user)
    page = client.get("/projects/alpha/models/m/").content.decode()
    assert "<strong>good</strong>" in page
    assert "<b>no</b>" not in page
