"""The portal's pages: who sees them, what they show, what their forms do and refuse."""

from __future__ import annotations

import ast
import html
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urljoin

import pytest
from django.test import Client
from django.utils import timezone

from accounts import services, webhooks
from accounts.choices import Role
from accounts.models import ApiToken, Membership
from common.errors import Invalid
from common.filtering import Meaning, conditions
from registry import services as registry_verbs
from registry.models import Inspection, ModelVersion, RegisteredModel
from registry.search import MODELS, VERSIONS
from tests.factories import Person, browser, make_person, make_project, make_run, make_version
from tracking.models import Run
from tracking.search import RUNS

pytestmark = pytest.mark.django_db

HOSTILE = '<script>alert(1)<\\script> ‮ "quoted" & 100% #1?'


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def page(person: Person, path: str, **query: object) -> str:
    answer = browser(person).get(f"/projects/{person.project.slug}/{path}", query)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


def everything(ann: Person) -> dict[str, str]:
    """One of each thing, and the paths of all pages."""
    make_version(ann, "iris", accuracy=0.9)
    version = make_version(ann, "iris", accuracy=0.95)
    run = version.source_run
    return {
        "models": "models/",
        "versions": "versions/",
        "register": "register-model/",
        "model": "models/iris/",
        "edit": "models/iris/edit/",
        "delete model": "models/iris/delete/",
        "aliases": "models/iris/aliases/",
        "compare": "models/iris/compare/?v=1&v=2",
        "version": "models/iris/versions/2/",
        "change stage": "models/iris/versions/2/stage/",
        "deploy": "models/iris/versions/2/deploy/",
        "delete version": "models/iris/versions/2/delete/",
        "experiments": "experiments/",
        "experiment": f"experiments/{run.experiment.public_id}/",
        "run": f"runs/{run.public_id}/",
        "register version": f"runs/{run.public_id}/register/?artifact_path=model",
        "deployments": "deployments/",
    }


def test_every_page_shows_itself_to_an_admin(ann: Person) -> None:
    for name, path in everything(ann).items():
        assert "</html>" in page(ann, path), name


def test_a_viewer_reads_and_finds_no_button_that_changes_something(ann: Person) -> None:
    paths = everything(ann)
    viewer = make_person(ann.project, Role.VIEWER)
    for name in ("models", "model", "version", "run", "compare", "experiments", "experiment", "deployments"):
        shown = page(viewer, paths[name])
        for label in (
            "Register Model",
            "Change Stage",
            "Delete",
            "Manage Aliases",
            ">Deploy<",
            "Register to",
        ):
            assert label not in shown.split("</header>")[-1], (name, label)
    for name in (
        "register",
        "edit",
        "delete model",
        "change stage",
        "deploy",
        "delete version",
        "register version",
    ):
        client = browser(viewer)
        for method in (client.get, client.post):
            assert method(f"/projects/alpha/{paths[name]}").status_code == 403, name


def test_a_stranger_finds_nothing_and_nobody_is_sent_to_sign_in(ann: Person) -> None:
    paths = everything(ann)
    stranger = make_person(make_project("beta"))
    for path in paths.values():
        assert browser(stranger).get(f"/projects/alpha/{path}").status_code == 404
        answer = Client().get(f"/projects/alpha/{path}")
        assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/account/login/")


def test_empty_lists_teach_how_to_fill_them(ann: Person) -> None:
    assert "client.register_model(" in page(ann, "models/")
    assert "client.start_run(" in page(ann, "experiments/")
    assert "client.deploy_model(" in page(ann, "deployments/")
    assert "press Register to Model Registry" in page(ann, "versions/")
    assert "a version, or “name@alias”" in page(ann, "search/")
    make_version(ann, "iris")
    assert "No model matches" in page(ann, "models/", search="nothing like it")


def test_an_empty_list_tells_a_viewer_nothing_that_he_may_not_do(ann: Person) -> None:
    vic = make_person(ann.project, Role.VIEWER)
    for path, missing in (
        ("models/", "client.register_model("),
        ("deployments/", "client.deploy_model("),
        ("schedules/", "client.create_schedule("),
    ):
        assert missing in page(ann, path)
        shown = page(vic, path)
        assert missing not in shown and "once a contributor of the project" in shown, path


def test_who_chose_too_few_versions_is_led_to_their_list(ann: Person) -> None:
    make_version(ann, "iris")
    answer = browser(ann).get("/projects/alpha/models/iris/compare/?v=1")
    shown = answer.content.decode()
    assert answer.status_code == 400 and "1 version is chosen; 2 to 10 are compared." in shown
    assert 'href="/projects/alpha/models/iris/?v=1">Choose versions' in shown


def test_a_wrong_filter_is_not_taken_for_one_that_nothing_matches(ann: Person) -> None:
    make_version(ann, "iris")
    answer = browser(ann).get("/projects/alpha/models/?filter=versions+%3E+three")
    shown = answer.content.decode()
    assert answer.status_code == 422 and "while the filter is wrong" in shown
    assert "No model matches" not in shown


def test_hostile_text_shows_as_text_and_its_links_work(ann: Person) -> None:
    client = browser(ann)
    form = {"name": HOSTILE, "description": HOSTILE, "tags": HOSTILE[:60]}
    answer = client.post("/projects/alpha/register-model/", form)
    assert answer.status_code == 302, answer.content.decode()
    assert client.get(answer["Location"]).status_code == 200
    shown = page(ann, "models/")
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    found = [part.split('"')[0] for part in shown.split('href="')]
    links = [html.unescape(link) for link in found if "/models/%3Cscript" in link]
    assert links
    assert [link for link in links if client.get(link).status_code != 200] == []


def test_register_model_keeps_what_was_typed_and_says_what_is_wrong(ann: Person) -> None:
    client = browser(ann)
    path = "/projects/alpha/register-model/"
    refused = client.post(path, {"name": "a/b", "description": "kept text", "tags": "x, y"})
    shown = refused.content.decode()
    assert refused.status_code == 422
    assert "kept text" in shown and "x, y" in shown
    assert "it must be 1 to 200 characters without" in shown
    made = client.post(path, {"name": "iris", "description": "kept text", "tags": "x, y"})
    assert made["Location"] == "/projects/alpha/models/iris/"
    assert RegisteredModel.objects.get().tags == ["x", "y"]
    twice = client.post(path, {"name": "iris"})
    assert "exists already" in twice.content.decode()


def test_change_stage_moves_with_a_note_and_refuses_where_it_stands(ann: Person) -> None:
    make_version(ann, "iris")
    client = browser(ann)
    path = "/projects/alpha/models/iris/versions/1/stage/"
    assert client.post(path, {"stage": "Staging", "note": "for tests"}).status_code == 302
    assert "for tests" in page(ann, "models/iris/versions/1/")
    refused = client.post(path, {"stage": "Staging"})
    assert refused.status_code == 422
    assert "is in Staging already" in refused.content.decode()


def test_deleting_asks_for_the_name_and_refuses_production(ann: Person) -> None:
    make_version(ann, "iris")
    client = browser(ann)
    client.post("/projects/alpha/models/iris/versions/1/stage/", {"stage": "Production"})
    path = "/projects/alpha/models/iris/versions/1/delete/"
    assert client.post(path, {"confirm": "v2"}).status_code == 422
    refused = client.post(path, {"confirm": "v1"})
    assert "Move it to Archived before deleting it." in refused.content.decode()
    assert client.post("/projects/alpha/models/iris/delete/", {"confirm": "Iris"}).status_code == 422
    assert client.post("/projects/alpha/models/iris/delete/", {"confirm": "iris"}).status_code == 302
    assert not RegisteredModel.objects.alive().exists()


def test_aliases_and_annotations_are_set_and_removed(ann: Person) -> None:
    make_version(ann, "iris")
    client = browser(ann)
    path = "/projects/alpha/models/iris/aliases/"
    assert client.post(path, {"alias": "latest", "version": "1"}).status_code == 422
    assert client.post(path, {"alias": "best", "version": "1"}).status_code == 302
    assert "best" in page(ann, "models/iris/")
    assert client.post(f"{path}best/delete/", {"confirm": "1"}).status_code == 422
    assert client.post(f"{path}best/delete/", {"confirm": "best"}).status_code == 302
    assert client.post(f"{path}best/delete/", {"confirm": "best"}).status_code == 404
    version = "/projects/alpha/models/iris/versions/1/"
    assert client.post(version, {"key": "validated_by", "value": "ml-team"}).status_code == 302
    assert "validated_by" in page(ann, "models/iris/versions/1/")
    asks = f"{version}remove-annotation/?key=validated_by"
    assert f'href="{asks}" data-sure' in page(ann, "models/iris/versions/1/")
    assert "Remove <bdi>validated_by</bdi> of <bdi>iris</bdi> v1?" in client.get(asks).content.decode()
    assert ModelVersion.objects.get().tags.exists()
    assert client.post(asks).status_code == 302
    assert client.post(asks).status_code == 404
    assert not ModelVersion.objects.get().tags.exists()


def test_a_run_registers_its_file_as_a_version(ann: Person) -> None:
    run = make_run(ann, {"model.joblib": b"x"})
    client = browser(ann)
    path = f"/projects/alpha/runs/{run.public_id}/register/"
    assert "Register to Model Registry" in page(ann, f"runs/{run.public_id}/")
    refused = client.post(path, {"model_name": "iris", "artifact_path": "nothing.pt"})
    assert "has no file" in refused.content.decode() or "nothing lies" in refused.content.decode()
    made = client.post(path, {"model_name": "iris", "artifact_path": "model.joblib"})
    assert made["Location"] == "/projects/alpha/models/iris/versions/1/"


def test_a_page_that_no_one_has_is_a_404_with_a_way_out(ann: Person) -> None:
    for path in (
        "models/none/",
        "models/none/versions/1/",
        "runs/run-none/",
        "deployments/none/",
        "nothing/",
    ):
        answer = browser(ann).get(f"/projects/alpha/{path}")
        assert answer.status_code == 404, path
        assert "Back to the models" in answer.content.decode()


@pytest.mark.parametrize("path", ["models/", "versions/", "experiments/", "models/iris/", "experiment"])
def test_a_list_page_costs_the_same_at_3_and_at_40_rows(
    ann: Person, path: str, django_assert_max_num_queries
) -> None:
    counts = []
    for rows in (3, 40):
        for index in range(rows):
            make_version(ann, "iris" if path != "models/" else f"m{rows}-{index}", accuracy=0.5)
            if path == "experiments/":
                make_run(ann, experiment=f"e{rows}-{index}")
        where = path if path != "experiment" else f"experiments/{Run.objects.first().experiment.public_id}/"
        client = browser(ann)
        client.get(f"/projects/alpha/{where}")
        with django_assert_max_num_queries(12) as counted:
            assert client.get(f"/projects/alpha/{where}").status_code == 200
        counts.append(len(counted))
    assert counts[0] == counts[1]


def test_every_page_says_what_a_browser_may_load(ann: Person) -> None:
    policy = browser(ann).get("/projects/alpha/models/")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_signing_in_and_out(ann: Person) -> None:
    ann.user.set_password("a long enough secret")
    ann.user.save()
    client = Client()
    wrong = client.post("/account/login/", {"login": "ann", "password": "wrong"})
    assert wrong.status_code == 200
    assert "not correct" in wrong.content.decode()
    right = client.post("/account/login/", {"login": "ann", "password": "a long enough secret"})
    assert right.status_code == 302
    assert client.get("/", follow=True).redirect_chain[-1][0] == "/projects/alpha/models/"
    assert client.post("/account/logout/").status_code == 302
    assert client.get("/").status_code == 302


def test_a_version_shows_what_its_files_hold(ann: Person) -> None:
    version = make_version(ann, "tensors")
    Inspection.objects.create(
        manifest=version.manifest,
        rules="2",
        status="Ready",
        details={
            "parameters": 1234,
            "tensor_bytes": 4936,
            "tensors": [{"name": "layer.weight", "dtype": "F32", "shape": [2, 617]}],
            "signature": {
                "inputs": [{"name": "x", "dtype": "FP32", "shape": ["batch", None]}],
                "outputs": [],
            },
        },
    )
    shown = page(ann, "models/tensors/versions/1/")
    for text in ("1,234 values", "layer.weight", "2 × 617", "batch × ?"):
        assert text in shown


@pytest.mark.parametrize("name", ["iris", 'it\'s "mine" $HOME `ls` ü', "end\u202egnp.exe"])
def test_a_version_tells_how_to_use_it_and_the_lines_mean_its_name(ann: Person, name: str) -> None:
    make_version(ann, name)
    shown = page(ann, f"models/{quote(name)}/versions/1/")
    blocks = [html.unescape(part.split("</code>")[0]) for part in shown.split("<code>")]
    (python,) = (block for block in blocks if "client.download_model_version(" in block)
    call = ast.parse(python.replace("…", "")).body[-1].value
    assert {each.arg: ast.literal_eval(each.value) for each in call.keywords} == {
        "model_name": name,
        "version": 1,
        "destination": "./models/",
    }
    (command,) = (block for block in blocks if block.startswith("podstack "))
    said = subprocess.run(["bash", "-c", f"printf %s {command.split(' ', 3)[3]}"], capture_output=True)
    assert said.stdout.decode().startswith(f"{name}/1")
    (curl,) = (block for block in blocks if block.startswith("curl "))
    assert f"/models/{quote(name, safe='')}/versions/1/artifacts/weights.txt" in curl
    assert "\u202e" not in python + command + curl


def test_ids_and_digests_of_a_version_can_be_copied(ann: Person) -> None:
    version = make_version(ann, "iris")
    shown = page(ann, "models/iris/versions/1/")
    digests = [version.manifest.digest, version.manifest.files.get().blob.sha256]
    for text in (version.source_run.public_id, *digests):
        assert f'data-copy="{text}"' in shown


def test_a_version_that_is_looked_at_shows_progress_and_asks_again_by_itself(ann: Person) -> None:
    make_version(ann, "iris", ready=False)
    shown = page(ann, "models/iris/versions/1/")
    assert "<progress" in shown and 'hx-select="#version-head"' in shown
    ModelVersion.objects.update(status="Ready")
    assert 'hx-trigger="every' not in page(ann, "models/iris/versions/1/")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("experiments/", ("name", "runs", "by", "created_at")),
        ("schedules/", ("name", "experiment", "next_at", "by")),
        ("datasets/", ("name", "path", "runs", "created_at")),
        ("approvals/", ("model", "requester", "expires_at", "created_at")),
        ("members/", ("user", "role", "created_at")),
        ("webhooks/", ("name", "url", "format", "state", "by")),
        ("/projects/", ("name", "slug", "role", "created_at")),
        ("/settings/tokens/", ("name", "project", "last_used_at", "expires_at", "created_at")),
        ("/settings/tokens/?ended=1", ("name", "project", "last_used_at", "expires_at", "created_at")),
    ],
)
def test_lists_are_sorted_by_their_heads(ann: Person, path: str, names: tuple[str, ...]) -> None:
    client, address = browser(ann), urljoin("/projects/alpha/", path)
    joint = "&" if "?" in path else "?"
    for name in names:
        for ordering in (name, f"-{name}"):
            assert client.get(f"{address}{joint}ordering={ordering}").status_code == 200, ordering
    refused = client.get(f"{address}{joint}ordering=nothing")
    assert refused.status_code == 400
    assert "it must be one of" in refused.content.decode()


def test_experiments_are_sorted_by_name_and_say_so(ann: Person) -> None:
    for name in ("b-second", "a-first"):
        make_run(ann, experiment=name)
    shown = page(ann, "experiments/", ordering="name")
    assert shown.index("a-first") < shown.index("b-second")
    assert 'aria-sort="ascending"' in shown
    assert 'name="ordering" value="name"' in shown


def test_projects_are_sorted_by_their_heads_and_a_search_keeps_it(ann: Person) -> None:
    for slug in ("gamma", "beta"):
        Membership.objects.create(project=make_project(slug), user=ann.user, role=Role.VIEWER)
    client = browser(ann)
    down = client.get("/projects/", {"ordering": "-name", "q": "a"}).content.decode().split("<tbody>")[1]
    assert down.index(">Gamma<") < down.index(">Beta<") < down.index(">Alpha<")
    shown = client.get("/projects/", {"ordering": "-name", "q": "a"}).content.decode()
    assert 'aria-sort="descending"' in shown
    assert 'name="ordering" value="-name"' in shown
    assert 'href="?ordering=name&amp;q=a"' in shown
    menu = client.get("/projects/", {"ordering": "-name"}, headers={"HX-Request": "true"}).content.decode()
    assert menu.index(">Alpha<") < menu.index(">Gamma<")


def test_a_token_that_was_never_used_sorts_as_the_one_used_longest_ago(ann: Person) -> None:
    ApiToken.objects.all().delete()
    for name, used_at in (
        ("never", None),
        ("old", datetime(2024, 1, 1, tzinfo=UTC)),
        ("new", timezone.now()),
    ):
        token, _ = services.create_token(actor=ann.actor, name=name, scopes=["read"])
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=used_at)
    client = browser(ann)
    for ordering, names in (
        ("-last_used_at", ["new", "old", "never"]),
        ("last_used_at", ["never", "old", "new"]),
    ):
        shown = client.get("/settings/tokens/", {"ordering": ordering}).content.decode()
        assert re.findall(r'<td class="cut name" title="(\w+)">', shown) == names


def test_webhooks_are_sorted_by_state_and_say_so(ann: Person) -> None:
    where = {"actor": ann.actor, "project": ann.project}
    webhooks.create_webhook(**where, name="a-on", url="https://example.com/on")
    off = webhooks.create_webhook(**where, name="b-off", url="https://example.com/off")
    assert page(ann, "webhooks/").index("a-on") < page(ann, "webhooks/").index("b-off")
    webhooks.update_webhook(**where, webhook_id=off.public_id, is_active=False)
    shown = page(ann, "webhooks/", ordering="state")
    assert shown.index("b-off") < shown.index("a-on")
    assert 'aria-sort="ascending"' in shown


def test_versions_of_all_models_are_filtered_and_sorted(ann: Person) -> None:
    make_version(ann, "iris", accuracy=0.9)
    make_version(ann, "wine", accuracy=0.7)
    shown = page(ann, "versions/", filter="metrics.accuracy > 0.8")
    assert "iris v1" in shown
    assert "wine v1" not in shown
    ordered = page(ann, "versions/", ordering="metrics.accuracy")
    assert ordered.index("wine v1") < ordered.index("iris v1")
    for query in ({"filter": "metrics.accuracy >"}, {"ordering": "nothing"}, {"stage": "Live"}):
        answer = browser(ann).get("/projects/alpha/versions/", query)
        assert answer.status_code == 422, query
    wrong = browser(ann).get("/projects/alpha/versions/", {"filter": "metrics.accuracy > > 1"})
    assert 'value="metrics.accuracy &gt; &gt; 1"' in wrong.content.decode()


def test_the_model_list_is_filtered_by_several_tags_and_by_an_expression(ann: Person) -> None:
    for name, tags in (("a", ["nlp", "prod"]), ("b", ["nlp"]), ("c", [])):
        registry_verbs.register_model(actor=ann.actor, project=ann.project, name=f"model-{name}", tags=tags)
    both = page(ann, "models/", tag=["nlp", "prod"])
    assert ("model-a" in both, "model-b" in both) == (True, False)
    either = page(ann, "models/", any_tag=["nlp", "prod"])
    assert ("model-b" in either, "model-c" in either) == (True, False)
    assert "Without the tag nlp" in both
    some = page(ann, "models/", filter="tag != 'nlp'")
    assert ("model-c" in some, "model-a" in some) == (True, False)
    ordered = page(ann, "models/", ordering="name")
    assert ordered.index("model-a") < ordered.index("model-c")
    answer = browser(ann).get("/projects/alpha/models/", {"filter": "tag ="})
    assert answer.status_code == 422


def test_the_models_page_draws_a_metric_over_its_versions(ann: Person) -> None:
    for accuracy in (0.7, 0.8):
        make_version(ann, "iris", accuracy=accuracy, loss=1 - accuracy)
    shown = page(ann, "models/iris/")
    assert '"steps": [1, 2], "values": [0.7, 0.8]' in shown
    assert '"link": "/projects/alpha/models/iris/versions/"' in shown
    assert '"values": [0.3' in page(ann, "models/iris/", metric="loss")
    assert "Metric trend" not in page(ann, "models/iris/", metric="<script>")


def test_what_a_page_offers_belongs_to_a_field(ann: Person) -> None:
    run = make_run(ann, {"model/weights.bin": b"1", "notes.md": b"2"})
    registry_verbs.register_model(actor=ann.actor, project=ann.project, name="iris")
    register = f"runs/{run.public_id}/register/"
    for path in (register, "approval-policies/new/", "create-schedule/", "models/iris/aliases/", "audit/"):
        shown = page(ann, path)
        offered = re.findall(r'<datalist id="([\w-]+)"', shown)
        assert offered and set(offered) <= set(re.findall(r' list="([\w-]+)"', shown)), path
    artifacts = page(ann, register).split('<datalist id="artifacts">')[1].split("</datalist>")[0]
    assert re.findall(r'value="([^"]+)"', artifacts) == ["model", "model/weights.bin", "notes.md"]


def refusal(text: str, vocabulary: Mapping[str, Meaning]) -> str:
    try:
        conditions(text, vocabulary)
    except Invalid as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("path", "vocabulary"), [("models/", MODELS), ("versions/", VERSIONS), ("run", RUNS)]
)
def test_how_to_filter_names_the_fields_as_one_writes_them(
    ann: Person, path: str, vocabulary: Mapping[str, Meaning]
) -> None:
    make_version(ann, "iris")
    shown = page(ann, path if path != "run" else f"experiments/{Run.objects.get().experiment.public_id}/")
    offered = shown.split(" filter-help")[1].split("</details>")[0]
    examples, fields = offered.split("<dt>Fields</dt>")
    named = re.findall(r"<code>([^<]+)</code>", fields)
    assert {name.partition(".")[0] for name in named} == set(vocabulary)
    keyed = {name.partition(".")[0] for name in named if name.endswith(".KEY")}
    assert keyed == {field for field in vocabulary if "needs a key" in refusal(f"{field} = 'x'", vocabulary)}
    asked = re.findall(r"<code>([^<]+ (?:in|like|is|&lt;|&gt;|=) [^<]+)</code>", examples)
    assert len(asked) >= 4
    assert [each for each in asked if refusal(html.unescape(each), vocabulary)] == []
