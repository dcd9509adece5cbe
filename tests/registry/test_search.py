"""Searching models and versions: filters, the filter language, and ordering by any column or metric."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.services import transition_stage
from deployments.services import deploy
from registry import services
from registry.aliases import set_alias
from registry.models import ModelVersion, RegisteredModel, VersionMetric
from registry.trash import delete_version
from tests.factories import Person, make_person, make_project, make_version
from tracking import services as tracking_verbs

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def register(person: Person, name: str, **values: Any) -> RegisteredModel:
    return services.register_model(actor=person.actor, project=person.project, name=name, **values)


def found(person: Person, address: str, **query: Any) -> list[Any]:
    answer = person.api.get(f"{person.base}/{address}", query)
    assert answer.status_code == 200, answer.content
    return list(answer.json()["results"])


def names(person: Person, **query: Any) -> set[str]:
    return {model["name"] for model in found(person, "models", **query)}


def numbers(person: Person, **query: Any) -> list[int]:
    return [version["version"] for version in found(person, "models/iris/versions", **query)]


def refusal(person: Person, address: str, **query: Any) -> Any:
    answer = person.api.get(f"{person.base}/{address}", query)
    assert answer.status_code == 400, answer.content
    return answer.json()


@pytest.fixture
def models(ann: Person) -> Person:
    register(ann, "churn", description="Who leaves", tags=["tabular", "prod"])
    register(ann, "fraud", tags=["tabular"])
    register(ann, "vision", description="Pictures of churn", tags=["images"])
    make_version(ann, "fraud")
    transition_stage(actor=ann.actor, project=ann.project, model_name="fraud", ref=1, stage="Production")
    set_alias(actor=ann.actor, project=ann.project, model_name="fraud", alias="best", version=1)
    return ann


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"search": "CHURN"}, {"churn", "vision"}),
        ({"stage": "Production"}, {"fraud"}),
        ({"tag": ["tabular", "prod"]}, {"churn"}),
        ({"any_tag": ["prod", "images"]}, {"churn", "vision"}),
        ({"alias": "best"}, {"fraud"}),
        ({"author": "ann"}, {"churn", "fraud", "vision"}),
        ({"author": "bob"}, set()),
        ({"live_endpoint": "true"}, set()),
        ({"live_endpoint": "false"}, {"churn", "fraud", "vision"}),
        ({"created_after": "2020-01-01T00:00:00Z"}, {"churn", "fraud", "vision"}),
        ({"created_before": "2020-01-01"}, set()),
        ({"filter": "tag = 'tabular' and not name like 'c%'"}, {"fraud"}),
        ({"filter": "stage = 'production'"}, {"fraud"}),
        ({"filter": "stage != 'PRODUCTION'"}, {"churn", "vision"}),
        ({"filter": "stage in ('production', 'archived')"}, {"fraud"}),
        ({"filter": "name ilike 'CH%' or stage = 'Production'"}, {"churn", "fraud"}),
        ({"filter": "tag in ('prod', 'images')"}, {"churn", "vision"}),
        ({"filter": "tag != 'tabular'"}, {"vision"}),
        ({"filter": "alias = 'best' and versions >= 1 and latest = 1"}, {"fraud"}),
        ({"filter": "alias is null"}, {"churn", "vision"}),
        ({"filter": "stage != 'Production'"}, {"churn", "vision"}),
        ({"filter": "description is null"}, {"fraud"}),
        ({"filter": "author = 'ann' and created_at > '2020-01-01'"}, {"churn", "fraud", "vision"}),
        ({"filter": "live_endpoint = false and name in ('churn')"}, {"churn"}),
        ({"filter": "name = 'it''s'"}, set()),
    ],
)
def test_models_are_found_by(models: Person, query: dict[str, Any], wanted: set[str]) -> None:
    assert names(models, **query) == wanted


def test_a_model_with_a_live_endpoint_is_found_by_it(models: Person) -> None:
    ModelVersion.objects.update(servable=True)
    deploy(actor=models.actor, project=models.project, model_name="fraud", version=1, endpoint_name="f")
    assert names(models, live_endpoint="true") == {"fraud"}
    assert names(models, filter="live_endpoint = true") == {"fraud"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stge = 'Production'", "there is no field 'stge'"),
        ("name = 3", "name is a text"),
        ("versions = 'x'", "versions is a number"),
        ("versions = 'NaN'", "versions is a whole number"),
        ("versions > 'Infinity'", "versions is a whole number"),
        ("latest in (1, 1.5)", "latest is a whole number"),
        ("versions < 1e999", "more than a 64-bit number can hold"),
        ("created_at > '2020-01-01 T'", "created_at is a time"),
        ("created_at > '0001-01-01T00:00:00+14:00'", "created_at is a time"),
        ("created_at > 'yesterday'", "created_at is a time"),
        ("name.first = 'x'", "name has no keys"),
        ("live_endpoint = 'yes'", "live_endpoint is compared as"),
        ("tag like 'x%'", "tag is compared by"),
        ("name like 'x\\'", "must not end with a backslash"),
        ("stage = 'Prod'", "stage is one of None, Staging, Production, Archived, not 'Prod'"),
        ("stage != 'Prod'", "stage is one of"),
        ("stage in ('Production', 'Live')", "not 'Live'"),
        ("stage = 1", "stage is a text"),
        ("name = 'x\0'", "U+0000"),
    ],
)
def test_a_filter_that_makes_no_sense_is_told_with_its_place(ann: Person, text: str, words: str) -> None:
    problem = refusal(ann, "models", filter=text)
    assert problem["detail"].startswith("filter")
    assert words in problem["detail"] or "U+0000" in words


@pytest.mark.parametrize("text", ["stage = 'x'", "status = 'x'", "relation in ('x')", "status.a = 'Ready'"])
def test_a_word_that_no_version_can_have_is_refused(ann: Person, text: str) -> None:
    assert refusal(ann, "model-versions", filter=text)["code"] == "filter_wrong"


@pytest.fixture
def versions(ann: Person) -> Person:
    for number, (accuracy, optimizer, rate) in enumerate(
        [(0.8, "sgd", 0.1), (0.95, "adamw", 0.01), (0.91, "adamw", 0.001)], start=1
    ):
        run = tracking_verbs.start_run(actor=ann.actor, project=ann.project, experiment_id=f"exp{number % 2}")
        where = {"actor": ann.actor, "project": ann.project, "run_id": run.public_id}
        tracking_verbs.log_params(**where, params={"optimizer": optimizer, "lr": rate, "layers": number})
        tracking_verbs.log_metrics(**where, series=[{"key": "accuracy", "values": [accuracy]}])
        source = make_version(ann, "other", **{"val/loss": 1.0 / number})
        blob = source.manifest.files.get().blob
        tracking_verbs.commit_files(**where, files=[{"path": "model/w.txt", "sha256": blob.sha256}])
        services.create_version(
            actor=ann.actor,
            project=ann.project,
            model_name="iris",
            source_run_id=run.public_id,
            artifact_path="model",
            description=f"number {number}",
            tags={"team": "nlp" if number > 1 else "vision"},
        )
    return ann


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metrics.accuracy > 0.9 and params.optimizer = 'adamw'", [3, 2]),
        ("metrics.accuracy > 0.9 AND NOT params.lr < 0.005", [2]),
        ("metrics.accuracy >= 0.8 and metrics.accuracy < 0.92", [3, 1]),
        ("metrics.accuracy in (0.8, 0.95)", [2, 1]),
        ("metrics.accuracy != 0.8", [3, 2]),
        ("metrics.f1 is null", [3, 2, 1]),
        ("metrics.f1 > 0 or params.layers = 3", [3]),
        ("params.layers >= 2", [3, 2]),
        ("params.optimizer > 'b'", [1]),
        ("params.optimizer like 'ad%'", [3, 2]),
        ("params.optimizer in ('sgd', 'rmsprop')", [1]),
        ("params.lr = 0.01", [2]),
        ("tags.team = 'nlp'", [3, 2]),
        ("tags.team != 'nlp'", [1]),
        ("tags.owner is null and tags.team is not null", [3, 2, 1]),
        ("version > 1 and version <> 3", [2]),
        ("version > 1.5 and version < 2.5", [2]),
        ("version = 2.0 and created_at > '2020-01-01T00:00:00+23:59'", [2]),
        ("description ilike '%NUMBER 2'", [2]),
        ("experiment = 'exp1'", [3, 1]),
        ("stage = 'none' and status != 'ready'", [3, 2, 1]),
        ("model = 'iris' and author = 'ann' and servable = false", [3, 2, 1]),
        ("size > 0 and validation.accuracy is null and alias is null and parent is null", [3, 2, 1]),
    ],
)
def test_versions_are_found_by_their_metrics_parameters_and_tags(
    versions: Person, text: str, wanted: list[int]
) -> None:
    assert numbers(versions, filter=text) == wanted


def test_a_key_with_other_signs_stands_in_backticks(versions: Person) -> None:
    assert len(found(versions, "model-versions", filter="metrics.`val/loss` <= 0.5")) == 2
    assert len(found(versions, "model-versions", filter="metrics.val/loss <= 0.5")) == 2


def test_plain_filters_of_versions(versions: Person) -> None:
    run = versions.api.get(f"{versions.base}/models/iris/versions/2").json()["source_run_id"]
    assert numbers(versions, run=run) == [2]
    assert numbers(versions, experiment="exp0") == [2]
    assert numbers(versions, tag=["team:nlp"]) == [3, 2]
    assert numbers(versions, tag=["owner"]) == []
    assert numbers(versions, author="ann", created_after="2020-01-01") == [3, 2, 1]
    assert numbers(versions, search="number 3") == [3]


def test_versions_are_ordered_by_a_metric_with_those_that_lack_it_last(versions: Person) -> None:
    made = make_version(versions, "iris")
    VersionMetric.objects.create(version=make_version(versions, "iris"), key="accuracy", value=float("nan"))
    assert numbers(versions, ordering="-metrics.accuracy")[:3] == [2, 3, 1]
    assert numbers(versions, ordering="metrics.accuracy")[:3] == [1, 3, 2]
    assert numbers(versions, ordering="-metrics.accuracy")[3:] == [5, made.number]


def test_pages_of_such_an_order_show_each_version_once(versions: Person) -> None:
    for _ in range(4):
        make_version(versions, "iris")
    seen: list[int] = []
    address: str | None = f"{versions.base}/models/iris/versions?ordering=-metrics.accuracy&page_size=2"
    while address:
        page = versions.api.get(address).json()
        seen += [version["version"] for version in page["results"]]
        address = page["next"]
    assert seen[:3] == [2, 3, 1]
    assert sorted(seen) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("ordering", ["accuracy", "metrics.", "--number", "params.lr", "-", "metrics"])
def test_an_ordering_that_there_is_not_is_refused(versions: Person, ordering: str) -> None:
    assert refusal(versions, "models/iris/versions", ordering=ordering)["errors"].keys() == {"ordering"}


def test_a_search_over_all_models_stays_in_the_project(versions: Person) -> None:
    bob = make_person(make_project("beta"), username="bob")
    make_version(bob, "iris", accuracy=0.99)
    wanted = found(versions, "model-versions", filter="metrics.accuracy > 0.9")
    assert {version["model_name"] for version in wanted} == {"iris"} and len(wanted) == 2
    assert len(found(bob, "model-versions", filter="metrics.accuracy > 0.9")) == 1


def test_a_line_of_a_list_has_the_fields_of_the_single_answer(versions: Person) -> None:
    line = found(versions, "model-versions", ordering="model", filter="model = 'iris' and version = 2")[0]
    assert line == versions.api.get(f"{versions.base}/models/iris/versions/2").json()
    line = found(versions, "models", search="iris")[0]
    assert line == versions.api.get(f"{versions.base}/models/iris").json()


def test_a_deleted_version_is_not_found(versions: Person) -> None:
    delete_version(actor=versions.actor, project=versions.project, model_name="iris", ref=2)
    assert [v["version"] for v in found(versions, "model-versions", filter="metrics.accuracy > 0.9")] == [3]
