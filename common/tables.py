"""Cells of CSV files that people open in a spreadsheet."""

from __future__ import annotations

# What a spreadsheet takes for a formula when a cell begins with it; the last four are the wide signs of East Asia.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def defused(text: str) -> str:
    """The text as a cell that is no formula: with an apostrophe before a sign that would begin one."""
    return f"'{text}" if text.startswith(FORMULA) else text
