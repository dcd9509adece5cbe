"""The filter language: what it reads, and how it says what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Invalid
from common.filtering import Comparison, Joined, parse


def test_comparisons_are_joined_as_in_sql_with_and_before_or() -> None:
    found = parse("a = 1 or b.x > 2.5 and not c = 'it''s'")
    assert found == Joined(
        "OR",
        (
            Comparison("a", None, "=", 1, 0),
            Joined(
                "AND",
                (Comparison("b", "x", ">", 2.5, 9), Joined("NOT", (Comparison("c", None, "=", "it's", 27),))),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("text", "operator", "value"),
    [
        ("a in ('x', \"y\")", "in", ("x", "y")),
        ("a like 'x%'", "like", "x%"),
        ("a ILIKE '%x'", "ilike", "%x"),
        ("a is null", "null", None),
        ("a <> -1e-3", "!=", -0.001),
        ("a=true", "=", True),
        ("metrics.`val loss (%)` < .5", "<", 0.5),
        ("metrics.train/loss-1.2 >= 3", ">=", 3),
    ],
)
def test_each_comparison_is_read(text: str, operator: str, value: object) -> None:
    found = parse(text)
    assert isinstance(found, Comparison)
    assert (found.operator, found.value) == (operator, value)


def test_not_stands_before_in_like_and_null_too() -> None:
    for text in ("a not in (1)", "a not like 'x'", "a is not null"):
        found = parse(text)
        assert isinstance(found, Joined) and found.word == "NOT"


@pytest.mark.parametrize(
    ("text", "character", "words"),
    [
        ("", 1, "the end"),
        ("a", 2, "expected =, !="),
        ("a = ", 4, "expected a value, not the end"),
        ("a = adamw", 5, "expected a value, not 'adamw'"),
        ("a = 'x", 5, "this quote is never closed"),
        ("a = 1 b = 2", 7, "expected AND, OR or the end"),
        ("(a = 1", 7, "expected ')', not the end"),
        ("a = 1)", 6, "expected AND, OR or the end, not ')'"),
        ("a ; drop table", 3, "';' is not expected here"),
        ("1 = a", 1, "expected the name of a field"),
        ("a in ()", 7, "expected a value"),
        ("a is 3", 6, "expected NULL"),
        ("not", 4, "expected the name of a field"),
    ],
)
def test_an_error_points_at_its_character(text: str, character: int, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert caught.value.message.startswith(f"filter, character {character}: ")
    assert words in caught.value.message
    assert caught.value.items[-1].endswith("^")
    assert caught.value.fields.keys() == {"filter"}


def test_a_text_without_quotes_is_shown_with_them() -> None:
    with pytest.raises(Invalid) as caught:
        parse("params.optimizer = adamw")
    assert caught.value.hint == "Texts stand in quotes: 'adamw'."


@pytest.mark.parametrize(
    "text", ["(" * 40 + "a = 1" + ")" * 40, "not " * 40 + "a = 1", " and ".join(["a = 1"] * 101), "a" * 4001]
)
def test_what_is_too_deep_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


@given(st.text(alphabet="ab.='\"`()<>!, \t\nANDORNTILKUS019-eé\0", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except Invalid as error:
        assert error.fields["filter"]
