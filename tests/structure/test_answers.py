"""Each operation answers as the API's description says: status, content type and shape."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from django.db import transaction

from tests.structure.operations import NEEDS_A_BUCKET, Operation, World, operations
from tests.structure.test_openapi import schema
from tests.structure.test_rights import world  # noqa: F401

pytestmark = pytest.mark.django_db


def as_json_schema(part: Any) -> Any:
    """OpenAPI 3.0's `nullable` in JSON Schema's words."""
    if isinstance(part, list):
        return [as_json_schema(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: as_json_schema(value) for key, value in part.items() if key != "nullable"}
    return {"anyOf": [found, {"type": "null"}]} if part.get("nullable") is True else found


def fault(described: dict[str, Any], operation: Operation, answer: Any) -> str:
    responses = described["paths"][operation.address][operation.method]["responses"]
    response = responses.get(str(answer.status_code))
    if response is None:
        return f"{answer.status_code} is not among {sorted(responses)}"
    content = response.get("content", {})
    kind = answer.headers.get("Content-Type", "")
    if "application/json" not in content:
        kinds = list(content) or [""]
        return "" if answer.status_code == 204 or kind.partition(";")[0] in kinds else f"{kind}, not {kinds}"
    root = {**as_json_schema(content["application/json"]["schema"]), "components": described["components"]}
    errors = list(jsonschema.Draft7Validator(root).iter_errors(answer.json()))
    return "; ".join(f"{list(error.path)}: {error.message[:200]}" for error in errors[:3])


def test_each_answer_is_as_described(world: World) -> None:  # noqa: F811
    described = schema()
    described["components"] = as_json_schema(described["components"])
    faults = []
    for operation in operations():
        if operation.name in NEEDS_A_BUCKET:
            continue
        with transaction.atomic():
            answer = world.send(world.person.api, operation)
            transaction.set_rollback(True)
        if wrong := fault(described, operation, answer):
            faults.append(f"{operation}: {wrong}")
    assert not faults, "\n".join(faults)
