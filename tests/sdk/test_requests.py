"""Retries, errors and lists: what every call goes through."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from email.utils import formatdate

import pytest

import podstack
from podstack import (
    AuthenticationError,
    ConflictError,
    ConnectionFailed,
    MLOpsClient,
    NotFoundError,
    PermissionDeniedError,
    PodstackError,
    ServerError,
    ValidationError,
)
from tests.sdk.conftest import QUICK
from tests.sdk.fake_server import DROPPED, PROJECT, TOKEN, Answer, FakeServer, P, problem


@pytest.mark.parametrize("fault", [Answer(s, b"") for s in (408, 429, 502, 503, 504)] + [DROPPED], ids=str)
def test_a_post_is_retried_under_one_key(client: MLOpsClient, server: FakeServer, fault: Answer) -> None:
    server.fail(f"POST {P}/runs$", fault, times=2)
    client.start_run("exp").end()
    client.start_run("exp").end()
    keys = [request.key for request in server.requests("POST .*/runs$")]
    assert len(keys) == 4 and keys[0]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_lost_answer_does_nothing_twice(client: MLOpsClient, server: FakeServer) -> None:
    server.fail(f"POST {P}/runs$", DROPPED, after_doing=True)
    with client.start_run("exp") as run:
        pass
    assert list(server.runs) == [run.id]


@pytest.mark.parametrize("method, call", [("GET", "get_model"), ("DELETE", "delete_model")])
def test_other_methods_are_retried_too(
    client: MLOpsClient, server: FakeServer, method: str, call: str
) -> None:
    server.fail(method, DROPPED, times=2)
    server.fail("GET", Answer(body={"name": "m"}))
    getattr(client, call)("m")
    assert len(server.seen) == 3
    assert not any(request.key for request in server.seen)


def test_an_answer_cut_short_is_asked_for_again(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("GET", Answer(body={"name": "half"}, cut=5))
    server.fail("GET", Answer(body={"name": "whole"}))
    assert client.get_model("m").name == "whole"


def test_a_delete_whose_answer_was_lost_is_done(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("DELETE", DROPPED)
    server.fail("DELETE", problem(404, "There is no model m."))
    client.delete_model("m")
    server.fail("DELETE", problem(404, "There is no model m."))
    with pytest.raises(NotFoundError):
        client.delete_model("m")


@pytest.mark.parametrize("asked", [lambda: "1", lambda: formatdate(time.time() + 2, usegmt=True)])
def test_retry_after_is_kept(client: MLOpsClient, server: FakeServer, asked: object) -> None:
    assert callable(asked)
    server.fail("GET", Answer(429, b"", {"Retry-After": asked()}))
    server.fail("GET", Answer(body={"name": "m"}))
    before = time.monotonic()
    assert client.get_model("m").name == "m"
    assert 0.7 < time.monotonic() - before < 10


def test_a_conflict_that_names_a_time_is_retried(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST", Answer(409, b"", {"Retry-After": "0"}))
    client.start_run("exp").end()


def test_a_time_beyond_patience_is_told_at_once(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("GET", Answer(429, {"detail": "Too many requests."}, {"Retry-After": "3600"}))
    with pytest.raises(ServerError, match="Too many requests") as caught:
        client.get_model("m")
    assert caught.value.status == 429
    assert len(server.seen) == 1


def test_a_wrong_address_is_told_soon() -> None:
    client = MLOpsClient(TOKEN, "http://127.0.0.1:9", PROJECT, retries=replace(QUICK, patience=600))
    before = time.monotonic()
    with pytest.raises(
        ConnectionFailed, match=r"http://127.0.0.1:9 \(Connection refused\).*PODSTACK_API_ENDPOINT"
    ):
        client.me()
    assert time.monotonic() - before < 60


def test_a_server_that_has_answered_is_waited_for(client: MLOpsClient, server: FakeServer) -> None:
    client.start_run("exp").end()
    server.stop()
    timer = threading.Timer(1.0, server.start)
    timer.start()
    client.start_run("exp").end()
    assert len(server.runs) == 2
    timer.join()


@pytest.mark.parametrize(
    "status, kind",
    [
        (400, ValidationError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (412, ConflictError),
        (413, ValidationError),
        (422, ValidationError),
        (500, ServerError),
        (418, ServerError),
    ],
)
def test_each_refusal_has_its_type(
    client: MLOpsClient, server: FakeServer, status: int, kind: type[PodstackError]
) -> None:
    refusal = problem(
        status, "It cannot be.", "Do so.", "a_code", errors={"name": ["It is empty."]}, items=["api"]
    )
    server.fail("GET", refusal)
    with pytest.raises(PodstackError) as caught:
        client.get_model("m")
    error = caught.value
    assert type(error) is kind
    assert str(error) == "It cannot be. Do so.\n- api"
    assert (error.code, error.hint, error.status, error.request_id) == ("a_code", "Do so.", status, "req-1")
    assert (error.errors, error.items) == ({"name": ["It is empty."]}, ["api"])


@pytest.mark.parametrize("body", [b"<html>gone</html>", b'"text"', b""])
def test_a_refusal_without_a_problem_document_is_still_a_sentence(
    client: MLOpsClient, server: FakeServer, body: bytes
) -> None:
    server.fail("GET", Answer(500, body))
    with pytest.raises(ServerError, match="answered with status 500"):
        client.get_model("m")


def test_something_else_at_the_address_is_told(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("GET", Answer(200, b"<html>Welcome</html>", {"Content-Type": "text/html"}))
    with pytest.raises(ServerError, match=r"did not answer in JSON.*PODSTACK_API_ENDPOINT"):
        client.get_model("m")


def test_a_redirected_post_is_not_turned_into_a_get(client: MLOpsClient, server: FakeServer) -> None:
    server.fail("POST", Answer(301, b"", {"Location": "https://new.example.com"}))
    with pytest.raises(ConnectionFailed, match=r"redirects to https://new.example.com"):
        client.register_model("m")
    assert len(server.seen) == 1


def test_the_token_goes_with_each_request_and_netrc_does_not_replace_it(
    client: MLOpsClient, server: FakeServer
) -> None:
    netrc = os.path.join(os.environ["HOME"], ".netrc")
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login a password b\n")
    client.start_run("exp").end()
    assert {request.headers["Authorization"] for request in server.seen} == {f"Bearer {TOKEN}"}
    assert {request.headers["User-Agent"] for request in server.seen} == {f"podstack/{podstack.__version__}"}


def test_lists_are_fetched_page_by_page_and_only_from_the_endpoint(
    client: MLOpsClient, server: FakeServer
) -> None:
    models = client.list_models(search="x", tags=["nlp", "eu"])
    assert not server.seen
    assert next(models).name == "model-0"
    assert len(server.seen) == 1
    assert server.seen[0].query == {"search": ["x"], "tag": ["nlp", "eu"]}
    rest = list(models)
    assert [model.name for model in rest] == ["model-1", "model-2"]
    assert rest[1].brand_new == 2
    assert server.seen[1].query == {"cursor": ["1"], "search": ["x"]}


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_be_another_address_is_refused(client: MLOpsClient, name: str) -> None:
    with pytest.raises(ValidationError, match="not a name"):
        client.get_model(name)


def test_names_are_quoted(client: MLOpsClient, server: FakeServer) -> None:
    with pytest.raises(NotFoundError):
        client.set_model_version_tag("ümläut?x=1#y..", 1, "a/../b", "c")
    assert server.seen[0].path == f"{P}/models/ümläut?x=1#y../versions/1/tags/a/../b"
    assert server.seen[0].query == {}


def test_what_json_cannot_say_is_told(client: MLOpsClient, server: FakeServer) -> None:
    with pytest.raises(ValidationError, match="cannot be sent as JSON"):
        client.predict("api", [object()])
    assert not server.seen
