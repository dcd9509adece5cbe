"""The schema that training code may declare: what cannot be checked against is refused, and what does not fit too."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client

from accounts.choices import Role
from common.errors import Invalid
from scheduling.configuration import check_configuration, check_schema
from scheduling.models import TrainingCode
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import drive, make_code, make_schedule, trigger

pytestmark = pytest.mark.django_db
QUICK = 60.0  # seconds; a schema that keeps a process busy does so for hours

LOOP = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}
MULTIPLIES = {
    "$defs": {
        **{
            f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]}
            for n in range(20)
        },
        "a20": {"type": "object"},
    },
    "$ref": "#/$defs/a0",
}
REFERRED_TO = {f"p{n}": {"type": "integer"} for n in range(800)}
MANY_SPELLINGS = {
    "$defs": {"a" * 50: {"properties": REFERRED_TO}},
    "properties": {f"r{n}": {"$ref": f"#/$defs/{'a' * n}%61{'a' * (49 - n)}"} for n in range(50)},
}


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


def schedule_with(ann: Person, configuration: object) -> Any:
    body = {"name": "n", "experiment_id": "nightly", "cron": "0 2 * * *", "configuration": configuration}
    return ann.api.post(f"{ann.base}/schedules", body, format="json")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#"}, "refers to itself without end"),
        (
            {"properties": {"a": {"allOf": [{"not": {"$ref": "#/properties/a"}}]}}},
            "refers to itself without end",
        ),
        (LOOP, "refers to itself without end"),
        ({"$ref": "#/$defs/none"}, "nothing at that place"),
        ({"properties": {"a": {"$ref": "#nowhere"}}}, "nothing at that place"),
        ({"title": "t", "$ref": "#/title"}, "no JSON Schema"),
        ({"$ref": "https://example.com/other.json"}, "another document"),
        ({"properties": {"a": {"$ref": "other.json#/a"}}}, "another document"),
        ({"properties": {"a": {"$id": "https://example.com/a"}}}, "$id inside"),
        ({"pattern": "^(a+)+$"}, "repeats what holds a repeat"),
        ({"properties": {"a": {"pattern": "(a|a)*b"}}}, "repeats what holds a repeat or a choice"),
        ({"patternProperties": {"^(a?){60}$": {}}}, "repeats what holds a repeat"),
        ({"pattern": "a*" * 5}, "too many ways"),
        ({"pattern": "a?" * 50}, "too many ways"),
        ({"pattern": "x" * 201}, "at most 200"),
        ({"pattern": "(?x)(a+#)\n)+b"}, "only :, =, !, <=, <! or P<name>"),
        ({"pattern": "(?i:a)"}, "only :, =, !, <=, <! or P<name>"),
        ({"pattern": "("}, "is not a 'regex'"),
        ({"type": "number or so"}, "no JSON Schema"),
    ],
)
def test_a_schema_that_nothing_can_be_checked_against_is_refused(
    ann: Person, schema: object, said: str
) -> None:
    code = make_code(ann)
    digest = code.manifest.files.get().blob.sha256
    body = {"files": {"train.py": digest}, "command": ["true"], "schema": schema}
    where = f"{ann.base}/experiments/{code.experiment.public_id}/training-code"
    answer = ann.api.post(where, body, format="json")
    assert answer.status_code == 400, answer.content
    assert set(answer.json()["errors"]) == {"schema"}
    assert said in answer.json()["detail"]
    assert TrainingCode.objects.count() == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/s", "$ref": "#/$defs/a",
         "$defs": {"a": {"type": "object"}}},
        {"$defs": {"tree": {"properties": {"below": {"items": {"$ref": "#/$defs/tree"}}}}}, "$ref": "#/$defs/tree"},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}},
        {"properties": {"version": {"pattern": r"^\d+\.\d+\.\d+(-[a-z0-9]+)?$"}}},
        {"properties": {"name": {"pattern": "^(adam|sgd|rmsprop)$"}, "hex": {"pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"}}},
        {"properties": {"path": {"pattern": r"^s3://[a-z0-9.-]+/[^\s]*\.csv$"}, "day": {"pattern": r"\d{4}-\d{2}-\d{2}"}}},
        {"properties": {"rate": {"pattern": r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"}}},
        {"uniqueItems": True, "additionalProperties": {"$anchor": "x", "type": ["number", "string", "array"]}},
    ],
)  # fmt: skip
def test_a_schema_as_people_write_them_is_taken(schema: dict[str, Any]) -> None:
    assert check_schema(schema) == schema
    assert check_configuration({"name": "adam"}, schema) == {"name": "adam"}


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({"epochs": "many"}, "'many' is not of type 'integer'"),
        ({"epochs": 0}, "less than the minimum"),
        ({}, "'epochs' is a required property"),
        ({"epochs": 1, "colour": "red"}, "'colour' was unexpected"),
        ({"epochs": 1, "sizes": [1, 1.0]}, "non-unique"),
        ({"epochs": 1, "name": "no good"}, "does not match"),
    ],
)
def test_a_configuration_that_its_schema_refuses_names_the_key(
    ann: Person, configuration: dict[str, Any], said: str
) -> None:
    schema = {
        "properties": {
            "epochs": {"type": "integer", "minimum": 1},
            "sizes": {"uniqueItems": True},
            "name": {"pattern": "^[a-z]+$"},
        },
        "required": ["epochs"],
        "additionalProperties": False,
    }
    make_code(ann, schema=schema)
    answer = schedule_with(ann, configuration)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"configuration"}
    assert said in answer.json()["detail"] and "configuration" in answer.json()["detail"]
    assert schedule_with(ann, {"epochs": 2}).status_code == 201
    edited = ann.api.patch(f"{ann.base}/schedules/n", {"configuration": configuration}, format="json")
    assert edited.status_code == 400 and said in edited.json()["detail"]
    run = ann.api.post(f"{ann.base}/schedules/n/trigger", {"configuration": configuration}, format="json")
    assert run.status_code == 400 and said in run.json()["detail"]


@pytest.mark.parametrize(
    ("schema", "configuration"),
    [
        (MULTIPLIES, {}),
        (MANY_SPELLINGS, {}),
        ({"properties": {"a": {"pattern": "a*a*a*b"}}}, {"a": "a" * 50_000}),
        ({"propertyNames": {"pattern": "a*a*a*b"}}, {"a" * 50_000: 1}),
        ({"additionalProperties": {"items": {"enum": list(range(20_000))}}}, {"a": [-1] * 20_000}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", **MULTIPLIES}, {}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": [{"x": n} for n in range(15_000)]}),
    ],
    ids=["multiplies", "many spellings", "pattern", "names", "enum", "another draft", "unique"],
)
def test_a_schema_keeps_no_process_busy(schema: dict[str, Any], configuration: dict[str, Any]) -> None:
    begin = time.process_time()
    try:
        check_configuration(configuration, check_schema(schema))
    except Invalid as error:
        assert "it takes more than 500000 steps" in str(error)
    assert time.process_time() - begin < QUICK


def test_a_schema_from_before_such_were_refused_is_a_sentence_and_no_error(ann: Person) -> None:
    code = make_code(ann)
    TrainingCode.objects.filter(pk=code.pk).update(schema={"$ref": "#"})
    answer = schedule_with(ann, {})
    assert answer.status_code == 400
    assert "leads nowhere or never ends" in answer.json()["detail"]


STRICT = {"required": ["epochs"]}


def test_run_now_without_a_configuration_is_checked_against_the_newest_code_too(ann: Person) -> None:
    schedule = make_schedule(ann)
    make_code(ann, "print('newer')", schema=STRICT)
    answer = ann.api.post(f"{ann.base}/schedules/nightly/trigger", {}, format="json")
    assert answer.status_code == 400
    assert "'epochs' is a required property" in answer.json()["detail"]
    assert not schedule.executions.exists()
    client = Client()
    client.force_login(ann.user)
    page = client.post(f"/projects/alpha/schedules/{schedule.name}/run/", follow=True)
    assert "is a required property" in page.content.decode()
    assert not schedule.executions.exists()


def test_an_execution_whose_configuration_newer_code_refuses_is_failed_and_starts_nothing(
    ann: Person,
) -> None:
    schedule = make_schedule(ann, max_attempts=3)
    execution = trigger(ann, schedule)
    make_code(ann, "print('newer')", schema=STRICT)
    ended = drive(execution)
    assert (ended.state, ended.end_reason) == ("Failed", "refused")
    assert schedule.executions.count() == 1  # newer tries would be refused too
    assert "configuration" in ended.reason and "'epochs' is a required property" in ended.reason
    assert ended.run is None


def test_one_text_of_a_configuration_that_no_environment_can_hold_is_refused_with_its_key(
    ann: Person,
) -> None:
    make_schedule(ann)
    long = {"prompt": "x" * 120_000}
    body = {"configuration": long}
    for answer in (
        schedule_with(ann, long),
        ann.api.patch(f"{ann.base}/schedules/nightly", body, format="json"),
        ann.api.post(f"{ann.base}/schedules/nightly/trigger", body, format="json"),
    ):
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) == {"configuration"}
        assert "configuration.'prompt' has 120006 bytes; at most 102400" in answer.json()["detail"]
    assert schedule_with(ann, {"prompt": "x" * 100_000}).status_code == 201
