"""What a stranger, or an unlucky or hostile caller sends to the gateway: there is always an answer, and never a 500."""

from __future__ import annotations

import socket

import pytest

from tests.deployments.conftest import (
    GatewayProcess,
    a_quick_version,
    ask,
    call,
    deploy,
    deployed,
)
from tests.factories import Person

pytestmark = pytest.mark.django_db(transaction=True)


def raw(gateway: GatewayProcess, sent: bytes, seconds: float = 30) -> bytes:
    """All that the gateway answers to these bytes until it closes the connection, or for so long."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=seconds) as link:
        link.sendall(sent)
        return link.recv(65536)


def head(person: Person, target: str, method: str = "POST", *more: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {person.token}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def test_no_address_is_a_500(ada: Person, gateway: GatewayProcess) -> None:
    slug = ada.project.slug
    deploy(ada, a_quick_version(ada))
    found = {
        target: raw(gateway, head(ada, target, "POST", "Content-Length: 0"))[9:12]
        for target in (
            "/serve/%00/iris-api",
            f"/serve/{slug}/%00",
            f"/serve/{slug}/%ff%fe",
            f"/serve/{slug}/%ed%a0%80",
            f"/serve/{slug}/iris-api/%00",
            f"/serve/{slug}/iris-api/v2/%0d%0ax",
            f"/serve/{slug}/iris-api/batch-predict?x=\xff",
            f"/serve/{slug}/iris-api/batch-predict?x=%00#y",
            "//serve",
            "*",
            "/serve/" + "a" * 20_000 + "/b",
        )
    }
    assert set(found.values()) <= {b"400", b"404", b"503"}, found


def test_a_wrong_method_is_told_which_one_is_right(ada: Person, gateway: GatewayProcess) -> None:
    deploy(ada, a_quick_version(ada))
    found = {
        (method, path): (answer.status_code, answer.headers.get("Allow"))
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE")
        for path in ("", "/batch-predict", "/v2/models/iris-api", "/v2/models/iris-api/infer")
        for answer in [call(ada, method, path)]
    }
    assert {told for (_, path), told in found.items() if path.endswith("/iris-api")} == {(405, "GET")}
    assert {told for (_, path), told in found.items() if not path.endswith("/iris-api")} == {(405, "POST")}


def test_a_version_may_be_named_in_the_protocol_and_answers_only_while_it_serves(
    ada: Person, gateway: GatewayProcess
) -> None:
    first, second = a_quick_version(ada), a_quick_version(ada, "return [8 for row in rows]")
    deployed(ada, second)
    model = "/v2/models/iris-api"
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}
    about = call(ada, "GET", model).json()
    assert about["versions"] == [str(second.number)]
    assert call(ada, "GET", f"{model}/versions/{second.number}").json() == about
    assert call(ada, "GET", f"{model}/versions/{second.number}/ready").json()["ready"] is True
    infer = call(ada, path=f"{model}/versions/{second.number}/infer", json=body)
    assert (infer.status_code, infer.json()["outputs"][0]["data"]) == (200, [8])
    for version in (first.number, 99, "x", "", "2/3"):
        refused = call(ada, path=f"{model}/versions/{version}/infer", json=body)
        assert refused.status_code == 404, version
    told = call(ada, path=f"{model}/versions/{first.number}/infer", json=body).json()
    assert (
        told["error"]
        == f"Version '{first.number}' does not answer at iris-api, which serves {second.number}."
    )


def test_a_model_that_exits_fails_its_request_and_goes_on(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada, "raise SystemExit(3) if rows == [0] else ValueError('no')"))
    for _ in range(3):
        answer = ask(ada, rows=[0])
        assert (answer.status_code, answer.json()["code"]) == (502, "model_failed")
        assert "it called sys.exit(3)" in answer.json()["detail"]
