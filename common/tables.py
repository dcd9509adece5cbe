"""Cells of CSV files that people open in a spreadsheet."""

from __future__ import annotations

# What a spreadsheet takes for a formula when a cell begins with it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def defused(text: str) -> str:
    """The text as a cell that is no formula: with an apostrophe before a sign that would begin one."""
    return f"'{text}" if text.startswith(FORMULA) else text
