"""The pages of lineage: the drawing and its table, impact with its acts, datasets, and Reproduce."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from accounts.choices import Role
from lineage.graph import Edge, Lineage, Node
from lineage.layout import HEIGHT, ROW, drawing_of
from registry.models import ModelVersion
from tests.factories import Person, browser, make_person, make_project
from tests.lineage.chains import a_chain
from tests.scheduling.factories import drive, make_schedule, trigger
from tracking.models import Dataset
from tracking.services import log_dataset, start_run

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(7)</script>"


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), Role.MAINTAINER, username="ann")
    a_chain(person)
    return person


def text(person: Person, path: str, code: int = 200) -> str:
    answer = browser(person).get(f"/projects/alpha/{path}")
    assert answer.status_code == code, answer.content
    return str(answer.content.decode())


def post(person: Person, path: str, /, **fields: Any) -> Any:
    return browser(person).post(f"/projects/alpha/{path}", fields)


def test_every_page_of_a_thing_leads_to_its_lineage(ann: Person) -> None:
    run = ModelVersion.objects.get(number=1).source_run
    assert run is not None
    dataset = Dataset.objects.get().pk
    for path, node in {
        "models/iris/": "model:iris",
        "models/iris/versions/1/": "version:iris/1",
        f"runs/{run.public_id}/": f"run:{run.public_id}",
        f"datasets/{dataset}/": f"dataset:{dataset}",
        "deployments/iris-api/": "endpoint:iris-api",
    }.items():
        assert f"lineage/?node={node}" in text(ann, path), path
        shown = text(ann, f"lineage/?node={node}")
        assert "data-lineage" in shown
        assert "As a table" in shown
        (crumbs,) = re.findall(r'<nav class="crumbs".*?</nav>', shown, re.DOTALL)
        back = "models/iris/versions/2/" if node == "model:iris" else path
        assert f'href="/projects/alpha/{back}"' in crumbs, path


def test_the_table_says_what_the_drawing_shows(ann: Person) -> None:
    shown = text(ann, "lineage/?node=version:iris/2")
    for name in ("iris v1", "iris v2", "@champion", "iris-api r1", "flowers"):
        assert shown.count(name) >= 2
    assert "<bdi>iris v1</bdi> (fine_tuned)" in shown
    assert shown.count('class="edge"') == 10


def test_drawing_and_data_are_downloaded(ann: Person) -> None:
    drawing = browser(ann).get("/projects/alpha/lineage/?node=version:iris/2&format=svg")
    assert drawing["Content-Disposition"] == 'attachment; filename="lineage-version-iris-2.svg"'
    root = ElementTree.fromstring(drawing.content)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    shown = text(ann, "lineage/?node=version:iris/2")
    (address,) = re.findall(r'href="(/api/[^"]+)" download', shown)
    data = browser(ann).get(address.replace("&amp;", "&"))
    assert len(data.json()["edges"]) == 10


def test_wrong_addresses_are_refused_in_a_sentence(ann: Person) -> None:
    assert "must be" in text(ann, "lineage/?node=nothing", 400)
    assert "has no version 99" in text(ann, "lineage/?node=version:iris/99", 404)
    assert text(ann, "lineage/?node=model:iris&depth=x", 400)
    assert text(ann, "lineage/?node=model:iris&direction=x", 400)
    assert text(ann, "impact/?node=", 400)


def many(count: int) -> Lineage:
    """A data set that `count` runs used, each with a version; one of them is asked for."""
    nodes = [Node("dataset:1", "dataset", "flowers", "")]
    edges = []
    for n in range(count):
        nodes += [Node(f"run:{n}", "run", f"run {n}", ""), Node(f"version:{n}", "version", f"v{n}", "")]
        edges += [Edge("dataset:1", f"run:{n}", "training"), Edge(f"run:{n}", f"version:{n}", "produced")]
    return Lineage(("version:7",), tuple(nodes), tuple(edges))


def test_many_alike_are_folded_and_unfold() -> None:
    drawing = drawing_of(many(149))
    assert len(drawing.boxes) <= 8
    assert sum(len(box.members) for box in drawing.boxes) == 299
    assert drawing.height < 8 * ROW
    opened = drawing_of(many(149), unfolded=["run:0"])
    assert len([box for box in opened.boxes if box.node.kind == "run"]) == 149


def test_what_stands_below_each_other_is_in_the_order_that_people_count() -> None:
    drawing = drawing_of(many(12), unfolded=["version:0"])
    boxes = [box for box in drawing.boxes if box.node.kind == "version"]
    names = [box.node.name for box in sorted(boxes, key=lambda box: box.y)]
    assert names == sorted(names, key=lambda name: int(re.sub(r"\D", "", name))) and len(names) == 12


def test_boxes_never_lie_on_each_other_and_edges_lead_to_the_right() -> None:
    drawing = drawing_of(many(30), unfolded=["run:0", "version:0"])
    places = [(box.x, box.y) for box in drawing.boxes]
    assert len(set(places)) == len(places)
    by_column: dict[int, list[int]] = {}
    for x, y in places:
        by_column.setdefault(x, []).append(y)
    for column in by_column.values():
        column.sort()
        assert all(b - a >= HEIGHT for a, b in pairwise(column))
    for line in drawing.lines:
        numbers = [int(number) for number in re.findall(r"-?\d+", line.path)]
        assert numbers[0] < numbers[-2]


def test_hostile_names_are_text(ann: Person) -> None:
    where = {"actor": ann.actor, "project": ann.project}
    run = start_run(**where, experiment_id=EVIL, name=EVIL)
    log_dataset(
        **where, run_id=run.public_id, name=EVIL, path="javascript:alert(7)", description=EVIL, context=EVIL
    )
    node = f"run:{run.public_id}"
    pages = [f"lineage/?node={node}", f"impact/?node={node}", "datasets/", f"lineage/?node={node}&format=svg"]
    for path in [*pages, f"datasets/{Dataset.objects.get(name=EVIL).pk}/"]:
        shown = text(ann, path)
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert(7)" in shown or "impact" in path


def test_a_bad_dataset_is_marked_and_leads_to_what_depends_on_it(ann: Person) -> None:
    pk = Dataset.objects.get().pk
    assert post(ann, f"datasets/{pk}/", reason="").status_code == 422
    answer = post(ann, f"datasets/{pk}/", reason="columns were swapped")
    assert answer.url == f"/projects/alpha/impact/?node=dataset%3A{pk}"
    shown = text(ann, f"impact/?node=dataset:{pk}")
    assert "2 versions, 1 alias, 1 live endpoint" in " ".join(shown.split())
    assert "columns were swapped" in text(ann, f"datasets/{pk}/")
    assert "Bad" in text(ann, "models/iris/versions/1/")
    assert post(ann, f"datasets/{pk}/", clear="1").status_code == 302
    assert "columns were swapped" not in text(ann, f"datasets/{pk}/")


def test_owners_are_told_and_versions_quarantined_from_the_page(ann: Person) -> None:
    path = f"impact/?node=dataset:{Dataset.objects.get().pk}"
    client = browser(ann)
    told = client.post(f"/projects/alpha/{path}", {"act": "notify", "message": "Look"}, follow=True)
    assert "Told: ann." in told.content.decode()
    moved = client.post(f"/projects/alpha/{path}", {"act": "quarantine", "reason": "bad"}, follow=True)
    assert "2 versions are quarantined" in moved.content.decode()
    assert set(ModelVersion.objects.values_list("status", flat=True)) == {"Quarantined"}
    back = client.post(f"/projects/alpha/{path}", {"act": "release"}, follow=True)
    assert "2 versions are released" in back.content.decode()
    assert client.post(f"/projects/alpha/{path}", {"act": "quarantine"}).status_code == 422
    sent = {"act": "quarantine", "reason": "bad", "endpoints": "undeploy"}
    refused = client.post(f"/projects/alpha/{path}", {**sent, "confirm": "yes"})
    assert "Type undeploy to confirm; nothing was quarantined or undeployed." in refused.content.decode()
    moved = client.post(f"/projects/alpha/{path}", {**sent, "confirm": "undeploy"}, follow=True)
    assert "quarantined" in moved.content.decode() and moved.status_code == 200
    assert client.post(f"/projects/alpha/{path}", {"act": "burn", "reason": "x"}).status_code == 422


def test_who_may_not_act_sees_no_button_and_is_refused(ann: Person) -> None:
    cora = make_person(ann.project, Role.CONTRIBUTOR)
    pk = Dataset.objects.get().pk
    assert "Quarantine" not in text(cora, f"impact/?node=dataset:{pk}")
    assert "Mark as bad" not in text(cora, f"datasets/{pk}/")
    for act in ("notify", "quarantine", "release"):
        body = {"act": act, "reason": "x", "message": "x"}
        answer = browser(cora).post(f"/projects/alpha/impact/?node=dataset:{pk}", body)
        assert answer.status_code == 403
    assert post(cora, f"datasets/{pk}/", reason="x").status_code == 403
    assert set(ModelVersion.objects.values_list("status", flat=True)) == {"Ready"}


def test_an_empty_list_of_datasets_teaches(ann: Person) -> None:
    Dataset.objects.all()
    other = make_person(make_project("beta"))
    client = browser(other)
    assert "run.log_dataset(" in client.get("/projects/beta/datasets/").content.decode()
    assert "No dataset matches" in text(ann, "datasets/?search=zzz")
    assert "flowers" in text(ann, "datasets/?search=flow")


def test_reproduce_shows_the_recipe_and_runs_again(ann: Person) -> None:
    assert "client.upload_training_code" in text(ann, "models/iris/versions/1/reproduce/")
    schedule = make_schedule(ann, configuration={"epochs": 3})
    first = drive(trigger(ann, schedule)).run
    ModelVersion.objects.filter(number=1).update(source_run=first)
    shown = text(ann, "models/iris/versions/1/reproduce/")
    assert "&quot;epochs&quot;: 3" in shown
    assert "python train.py" in shown
    path = "models/iris/versions/1/reproduce/"
    assert post(ann, path, configuration="{").status_code == 422
    answer = post(ann, path, configuration='{"epochs": 9}')
    assert "/executions/" in answer.url
    vic = make_person(ann.project, Role.VIEWER)
    assert "Viewers start no training" in text(vic, path)
    assert post(vic, path, configuration="{}").status_code == 403


def test_the_pages_cost_a_fixed_number_of_queries(ann: Person, django_assert_max_num_queries: Any) -> None:
    client = browser(ann)
    for path, most in (
        ("lineage/?node=version:iris/2", 13),
        ("impact/?node=version:iris/1", 22),
        ("datasets/", 8),
    ):
        client.get(f"/projects/alpha/{path}")
        with django_assert_max_num_queries(most):
            client.get(f"/projects/alpha/{path}")
