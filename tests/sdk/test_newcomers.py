"""What people try in their first hour: wrong types, wrong places, names from elsewhere. Each is told in a sentence."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from podstack import (
    AuthenticationError,
    ConflictError,
    Deployment,
    MLOpsClient,
    NotFoundError,
    PodstackWarning,
)
from podstack.cli import root
from podstack.config import check_endpoint
from podstack.errors import ConnectionFailed, PodstackError, ValidationError
from podstack.run import ActiveRun
from tests.sdk.fake_server import PROJECT, TOKEN, Answer, FakeServer, P, problem


class Tensor:
    """Two dimensions, as a framework that is not installed here would have them."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def item(self) -> float:
        return 0.25


class Series:
    """A table's row: it has items and is no dictionary."""

    def items(self) -> Any:
        return {"loss": 0.5}.items()


@pytest.fixture
def run(client: MLOpsClient) -> ActiveRun:
    return client.start_run("first")


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (lambda run: run.log_metric("loss", "0.9"), "The metric loss is '0.9'; it must be a number."),
        (lambda run: run.log_metric("loss", {"train": 1}), "loss is of type dict.* of its own"),
        (lambda run: run.log_metric("loss", [1, 2]), "The metric loss is of type list; it must be a number."),
        (lambda run: run.log_metric("loss", Tensor(2, 3)), r"array of shape \(2, 3\); it must be one number"),
        (lambda run: run.log_metric("loss", 10**400), "larger than a float"),
        (lambda run: run.log_metric(" ", 1), "A metric needs a name; its key is ' '."),
        (lambda run: run.log_metrics([1, 2]), "metrics is of type list; it must be a dictionary."),
        (lambda run: run.log_metric("loss", 1, step=1.5), "step is 1.5; it must be a whole number"),
        (lambda run: run.log_metric("loss", 1, step=10**30), "it must be a whole number from"),
        (lambda run: run.log_params(None), "params is of type NoneType; it must be a dictionary."),
        (lambda run: run.log_param("", 1), "A parameter needs a name"),
        (lambda run: run.set_tags(["a"]), "tags is of type list; it must be a dictionary."),
        (lambda run: run.log_artifact(object()), "local_path is of type object.*joblib.dump"),
        (lambda run: run.log_artifact(""), "local_path is empty"),
        (lambda run: run.log_artifacts(__file__), "is a file, no folder"),
        (lambda run: run.log_artifact("missing.pt"), "There is no file missing.pt. Paths begin at /"),
        (lambda run: run.log_dataset("wine", [1, 2]), "path is of type list"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_at_once(
    run: ActiveRun, log: Callable[[ActiveRun], object], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        log(run)
    run.flush()


def test_values_of_other_libraries_are_taken(run: ActiveRun, server: FakeServer) -> None:
    run.log_metrics(Series(), step=3.0)  # type: ignore[arg-type]
    run.log_metric("one", Tensor(1, 1))
    run.flush()
    assert server.points == {"loss": [(3, 0.5)], "one": [(0, 0.25)]}


def test_an_empty_folder_is_told(run: ActiveRun, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.warns(PodstackWarning, match="empty holds no files; nothing was stored"):
        run.log_artifacts(tmp_path / "empty")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.register_model("iris", tags="nlp"),
        lambda client: client.create_experiment("iris", tags={"team": "nlp"}),
        lambda client: client.create_token("ci", scopes="read"),
        lambda client: client.list_models(tags="nlp"),
        lambda client: client.set_approval_policy("iris", reviewers="ray"),
        lambda client: client.set_approval_policy("iris", groups="leads"),
        lambda client: client.protect_stage("Production", roles="admin"),
        lambda client: client.protect_alias("champion", groups="leads"),
        lambda client: client.compare_runs("run-1"),
        lambda client: client.get_metric_histories(["run-1"], "loss"),
        lambda client: client.export_metrics("run-1", "m.csv", keys="loss"),
        lambda client: client.compare_model_versions("iris", "12"),
    ],
)
def test_one_text_is_not_taken_for_a_list_of_its_letters(
    client: MLOpsClient, call: Callable[[MLOpsClient], object]
) -> None:
    with pytest.raises(ValidationError, match=r"it must be a list of (texts|numbers or aliases). Write \['"):
        call(client)


@pytest.mark.parametrize("scopes", [None, 5])
def test_what_is_no_list_is_named(client: MLOpsClient, scopes: object) -> None:
    with pytest.raises(ValidationError, match=f"scopes is {scopes}; it must be a list of texts."):
        client.create_token("ci", scopes=scopes)  # type: ignore[arg-type]


def test_what_json_cannot_say_is_named_by_its_place(client: MLOpsClient) -> None:
    body = {"name": "x", "tags": [{"owner": object()}]}
    with pytest.raises(ValidationError, match=r"^tags\.0\.owner cannot be sent as JSON: object is not"):
        client.http.call("POST", "/x", json=body)


# Lists


def test_a_list_says_how_it_is_used(client: MLOpsClient, server: FakeServer) -> None:
    models = client.list_models()
    assert "fetched while you go through it" in repr(models)
    for wrong in (lambda: models[0], lambda: len(models), lambda: bool(models)):  # type: ignore[arg-type, index]
        with pytest.raises(TypeError, match=r"A Listing .*(list|next)\("):
            wrong()
    assert not server.requests("/models")
    assert list(models)


# Names


def test_a_version_is_also_what_another_call_answered(client: MLOpsClient, server: FakeServer) -> None:
    from podstack.models import ModelVersion
    from podstack.models.registry import VersionRef

    for version in (ModelVersion(model_name="iris", version=3), VersionRef(version=3)):
        with pytest.raises(NotFoundError):
            client.get_model_version("iris", version)  # type: ignore[arg-type]
    assert {request.path for request in server.requests("/versions/")} == {f"{P}/models/iris/versions/3"}
    with pytest.raises(ValidationError, match="version is None; it must be a number, or an alias"):
        client.get_model_version("iris", None)  # type: ignore[arg-type]


def test_a_name_with_a_slash_is_told_and_an_experiment_s_is_found(
    client: MLOpsClient, server: FakeServer
) -> None:
    with pytest.raises(
        ValidationError, match=r"'iris/3' is not a name: it holds a '/'\. A version is an argument"
    ):
        client.get_model("iris/3")
    assert not server.seen
    found = {
        "results": [{"id": "exp-1", "name": "team/a/b"}, {"id": "exp-2", "name": "team/a"}],
        "next": None,
    }
    server.fail("/experiments$", Answer(200, found))
    server.fail("/experiments/exp-2$", Answer(200, found["results"][1]))  # type: ignore[index]
    assert client.get_experiment("team/a").id == "exp-2"
    server.fail("/experiments$", Answer(200, {"results": [], "next": None}))
    with pytest.raises(NotFoundError, match="There is no experiment 'team/b'"):
        client.get_experiment("team/b")


def test_an_unknown_setting_of_a_schedule_is_told(client: MLOpsClient, server: FakeServer) -> None:
    with pytest.raises(
        ValidationError, match=r"promote_metrics is no setting .* Did you mean promote_metric\?"
    ):
        client.create_schedule("nightly", "wine", "0 2 * * *", promote_metrics="f1")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="crontab is no setting"):
        client.update_schedule("nightly", **{"crontab": "* * * * *"})  # type: ignore[misc]
    assert not server.seen
    server.fail("/schedules$", Answer(200, {"name": "nightly"}))
    client.create_schedule("nightly", "wine", "0 2 * * *", configuration={"lr": Tensor()})
    assert server.seen[-1].json["configuration"] == {"lr": 0.25}


# Where the server is


def test_an_address_and_a_token_in_each_other_s_place_show_no_secret() -> None:
    with pytest.raises(AuthenticationError, match="The API token is an address"):
        MLOpsClient("http://127.0.0.1:8000", TOKEN)
    for wrong in (TOKEN, "https://ann:secret@example.com"):
        with pytest.raises(ValidationError) as caught:
            check_endpoint(wrong)
        assert "secret" not in str(caught.value)


def test_https_where_there_is_none_is_told_at_once(server: FakeServer) -> None:
    client = MLOpsClient(TOKEN, server.url.replace("http:", "https:"), "vision")
    with pytest.raises(ConnectionFailed, match="It speaks http:// without encryption"):
        client.me()


def test_a_page_s_address_is_no_endpoint(server: FakeServer, client: MLOpsClient) -> None:
    server.fail("/me$", Answer(404, b"<h1>Not found</h1>"))
    with pytest.raises(NotFoundError, match=r"There is no registry at .* Set PODSTACK_API_ENDPOINT"):
        client.me()


def test_an_error_s_text_holds_what_stands_in_the_way(client: MLOpsClient, server: FakeServer) -> None:
    held = ["It has no description.", "Version 3 is in Production."]
    server.fail("/me$", problem(409, "It does not go.", hint="See each line.", items=held))
    with pytest.raises(ConflictError) as caught:
        client.me()
    assert str(caught.value) == f"It does not go. See each line.\n- {held[0]}\n- {held[1]}"
    many = PodstackError("No.", items=[f"line {number}" for number in range(25)])
    assert str(many).splitlines()[-1] == "- and 5 more"


# The command line


def asked(server: FakeServer, *words: str, typed: str = "") -> None:
    where = ["--endpoint", server.url, "--token", TOKEN, "--project", PROJECT]
    done = CliRunner().invoke(root, [*where, *words], input=typed)
    assert done.exit_code == 0, done.output


def test_predictions_are_asked_for_with_parameters(server: FakeServer) -> None:
    server.fail("GET .*/deployments/iris$", Answer(200, {"endpoint_url": f"{server.url}/serve/iris"}))
    server.fail("POST /serve/iris$", Answer(200, {"predictions": [[0.5, 0.5]]}))
    asked(server, "deployments", "predict", "iris", "--set", "method=predict_proba", typed="[[1]]")
    assert server.seen[-1].json == {"instances": [[1]], "parameters": {"method": "predict_proba"}}


def test_runs_are_listed_by_their_parent_and_out_of_the_trash(server: FakeServer) -> None:
    server.fail("GET .*/runs$", Answer(200, {"results": [], "next": None}))
    asked(server, "runs", "list", "--parent", "run-sweep", "--deleted")
    assert server.seen[-1].query == {"parent": ["run-sweep"], "deleted": ["true"]}


@pytest.mark.parametrize("kind", [MLOpsClient, ActiveRun, Deployment])
def test_whatever_completes_in_a_notebook_explains_itself(kind: type) -> None:
    for name, member in inspect.getmembers(kind):
        if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        assert inspect.getdoc(member), name
        function = member.fget if isinstance(member, property) else member
        parameters = list(inspect.signature(function).parameters.values())[1:]
        assert not [each for each in parameters if each.annotation is inspect.Parameter.empty], name
