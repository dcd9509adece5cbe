"""A body that is no JSON is refused in time that grows with its length alone."""

from __future__ import annotations

import pytest

from tests.factories import make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("end", [b"", b"\\"])
def test_a_long_text_of_quotes_that_does_not_end_is_refused(end: bytes) -> None:
    ann = make_person(make_project("alpha"))
    body = b'[{"a": 1, "a": 2}, "' + b'\\"' * (1 << 19) + end
    answer = ann.api.generic("POST", f"{ann.base}/models", body, content_type="application/json")
    assert answer.status_code == 400
    assert "'a' stands there twice" in answer.json()["detail"]


def test_a_byte_order_mark_before_the_body_is_passed_over() -> None:
    ann = make_person(make_project("alpha"))
    body = b'\xef\xbb\xbf{"name": "m"}'
    assert ann.api.generic("POST", f"{ann.base}/models", body, "application/json").status_code == 201


@pytest.mark.parametrize("body", ["null", "[]", '"name"', "1", '[{"name": "m"}]'])
def test_a_body_that_is_no_object_is_refused_as_such(body: str) -> None:
    ann = make_person(make_project("alpha"))
    answer = ann.api.generic("POST", f"{ann.base}/models", body, "application/json")
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is no JSON object.")
