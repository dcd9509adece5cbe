"""What no schedule may hold: refused at REST and in the SDK with the field named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accounts.choices import Role
from podstack import MLOpsClient, ValidationError
from scheduling.models import Schedule, TrainingCode
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import make_code, make_experiment, make_schedule
from tests.scheduling.test_cron import BAD_CRON, BAD_ZONES

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


def body(ann: Person, **values: object) -> dict[str, object]:
    return {"name": "n", "experiment_id": make_experiment(ann), "cron": "0 2 * * *", **values}


def refused(ann: Person, path: str, text: str, field: str) -> str:
    """The refusal's sentence, once it is a 400 that names the field."""
    answer = ann.api.generic("POST", f"{ann.base}/{path}", text, content_type="application/json")
    assert answer.status_code == 400, answer.content
    named = {name.split(".")[0] for name in answer.json()["errors"]}
    assert named == {field}, answer.json()
    return str(answer.json()["detail"])


@pytest.mark.parametrize("expression", [expression for expression, _ in BAD_CRON])
def test_a_cron_expression_that_cannot_be(ann: Person, expression: str) -> None:
    refused(ann, "schedules", json.dumps(body(ann, cron=expression)), "cron")
    assert not Schedule.objects.exists()


@pytest.mark.parametrize("zone", BAD_ZONES)
def test_a_time_zone_that_is_none(ann: Person, zone: object) -> None:
    refused(ann, "schedules", json.dumps(body(ann, timezone=zone)), "timezone")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"a": "' + "x" * 10_000_000 + '"}', "at most 262144"),
        ('{"a": ' * 1000 + "1" + "}" * 1000, "nested too deeply"),
        ('{"a": ' * 40 + "1" + "}" * 40, "nested too deeply"),
        ('{"a": NaN}', "NaN"),
        ('{"b": [-Infinity]}', "-Infinity"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ('{"b": {"a": 1, "a": 2}}', "'a' stands there twice"),
        ("[1]", "must be a JSON object"),
        ('"text"', "must be a JSON object"),
        ("null", ""),
        ('{"a": 18446744073709551616}', "more than 64 bits"),
        ('{"a\\u0000": 1}', "not allowed"),
    ],
    ids=[
        "10 MB",
        "1000 deep",
        "40 deep",
        "NaN",
        "Infinity",
        "twice",
        "twice below",
        "list",
        "text",
        "null",
        "big",
        "NUL",
    ],
)
def test_a_configuration_that_is_none(ann: Person, written: str, said: str) -> None:
    before = json.dumps(body(ann))[:-1]
    assert said in refused(ann, "schedules", f'{before}, "configuration": {written}}}', "configuration")
    make_schedule(ann)
    path = "schedules/nightly/trigger"
    assert said in refused(ann, path, f'{{"configuration": {written}}}', "configuration")


@pytest.mark.parametrize(
    "path", ["../evil.py", "/etc/passwd", "a/../../b", "C:\\x", "a//b", "", "a\0b", "x" * 300]
)
def test_a_bundle_with_paths_that_lead_out(ann: Person, path: str) -> None:
    code = make_code(ann)
    digest = code.manifest.files.get().blob.sha256
    wanted = {"files": {path: digest}, "command": ["python", "train.py"]}
    where = f"experiments/{code.experiment.public_id}/training-code"
    refused(ann, where, json.dumps(wanted), "files")
    assert TrainingCode.objects.count() == 1


def test_a_bundle_that_is_a_bomb(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    code = make_code(ann, program="#" * 1000)
    digest = code.manifest.files.get().blob.sha256
    where = f"experiments/{code.experiment.public_id}/training-code"
    many = {"files": {f"f{n}": digest for n in range(10_001)}, "command": ["true"]}
    assert "at most 10000" in refused(ann, where, json.dumps(many), "files")
    monkeypatch.setattr("scheduling.training_code.MOST_CODE", 5000)
    large = {"files": {f"f{n}": digest for n in range(6)}, "command": ["true"]}
    assert "6000 bytes" in refused(ann, where, json.dumps(large), "files")


NESTED: dict[str, Any] = {}
for _ in range(1000):
    NESTED = {"a": NESTED}


@pytest.mark.parametrize(
    "configuration",
    [{"a": "x" * 10_000_000}, NESTED, {"a": float("nan")}, {"a": object()}, [1], "text", {1: {2, 3}}],
    ids=["10 MB", "1000 deep", "NaN", "object", "list", "text", "set"],
)
def test_the_sdk_says_it_before_anything_is_sent(configuration: Any) -> None:
    client = MLOpsClient(api_token="podstack_x_y", api_endpoint="http://127.0.0.1:9", project="p")
    for send in (
        lambda: client.create_schedule("n", "e", "0 2 * * *", configuration=configuration),
        lambda: client.update_schedule("n", configuration=configuration),
        lambda: client.trigger_schedule("n", configuration=configuration),
    ):
        with pytest.raises(ValidationError) as found:
            send()
        assert "configuration" in str(found.value)


def test_the_sdk_uploads_no_link(tmp_path: Path) -> None:
    client = MLOpsClient(api_token="podstack_x_y", api_endpoint="http://127.0.0.1:9", project="p")
    (tmp_path / "train.py").write_text("")
    (tmp_path / "data").symlink_to("/etc/passwd")
    with pytest.raises(ValidationError, match="data is a link"):
        client.upload_training_code("e", tmp_path, ["python", "train.py"])
