"""`python -m config.page` prints the page docs/settings.md."""

from __future__ import annotations

from config.env import SETTINGS

_PAGE_HEAD = (
    "# Settings",
    "",
    "Every setting is an environment variable: `make run PORT=9000`, or `export PORT=9000` before it.",
    "An empty value counts as not set. A bad value stops the start with a sentence that says what is right.",
    "",
    "| Setting | Default | What it does |",
    "| --- | --- | --- |",
)
_PAGE_FOOT = (
    "",
    "Yes is written `1`, `true`, `yes` or `on`, no is written `0`, `false`, `no` or `off`.",
    "This page is made by `python -m config.page > docs/settings.md`; a test keeps it equal to the code.",
    "",
)


def as_markdown() -> str:
    """The page docs/settings.md."""
    rows = [f"| `{s.name}` | {s.default_note or f'`{s.default}`'} | {s.description} |" for s in SETTINGS]
    return "\n".join([*_PAGE_HEAD, *rows, *_PAGE_FOOT])


if __name__ == "__main__":
    print(as_markdown(), end="")
