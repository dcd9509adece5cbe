"""The chain from the dataset to the endpoint in the browser, seen from both ends, and a bad dataset's consequences."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from podstack import MLOpsClient
from tests.e2e.browser import fits_a_phone
from tests.e2e.conftest import Platform
from tests.e2e.test_approvals import chromium, signed_in  # noqa: F401
from tests.e2e.test_portal import no_barrier

pytestmark = pytest.mark.slow
PREDICTOR = """
class Predictor:
    def load(self, path):
        pass

    def predict(self, rows):
        return [len(str(row)) for row in rows]
"""


@pytest.fixture(scope="module")
def lena(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> MLOpsClient:
    """dataset -> run -> base v1 -> fine-tuned child, in Production, served by an endpoint; and 12 more runs of the data."""
    client = platform.member("lena", "maintainer")
    folder = tmp_path_factory.mktemp("lineage")
    (folder / "predictor.py").write_text(PREDICTOR)
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    with client.start_run("lineage", name="base run") as run:
        run.log_dataset("rows", path=folder / "rows.csv", context="training")
        run.log_artifact(folder / "predictor.py")
    client.create_model_version("traced-base", run.id, "predictor.py")
    with client.start_run("lineage", name="tuned run") as run:
        run.use_model("traced-base", 1)
        run.log_artifact(folder / "predictor.py")
    client.create_model_version(
        "traced", run.id, "predictor.py", parent="traced-base/1", relation="fine_tuned"
    )
    client.transition_model_version_stage("traced", 1, "Production")
    client.set_model_alias("traced", "champion", 1)
    client.deploy_model("traced", 1, "traced-api").wait()
    for number in range(12):
        with client.start_run("lineage", name=f"sweep {number}") as run:
            run.log_dataset("rows", path=folder / "rows.csv", context="training")
    return client


@pytest.fixture
def page(platform: Platform, lena: MLOpsClient, chromium) -> Iterator[Page]:  # noqa: F811
    opened = signed_in(chromium, platform, "lena")
    complaints: list[str] = []
    opened.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    opened.context.close()
    assert complaints == []


def where(platform: Platform, path: str) -> str:
    return f"{platform.url}/projects/default/{path}"


def test_the_chain_is_seen_from_both_ends(platform: Platform, page: Page) -> None:
    page.goto(where(platform, "deployments/traced-api/"))
    page.get_by_role("link", name="Lineage").click()
    nodes = page.locator("[data-node]")
    for name in ("dataset rows", "run base run", "version traced-base v1", "version traced v1 Production"):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    expect(page.get_by_role("link", name="endpoint traced-api Active")).to_have_class(
        "node kind-endpoint center"
    )
    no_barrier(page)
    page.get_by_role("link", name="dataset rows").hover()
    expect(page.locator(".lineage.dimmed [data-node].lit")).to_have_count(
        nodes.count() - 1
    )  # all but the experiment
    page.get_by_role("link", name="dataset rows").click()
    page.get_by_role("link", name="Lineage").click()
    expect(page.get_by_role("link", name="endpoint traced-api Active")).to_be_visible()
    page.get_by_role("link", name="Unfold 12 nodes of the kind run").click()
    expect(page.get_by_role("link", name="run sweep 11")).to_be_visible()
    page.get_by_text("As a table").click()
    expect(page.get_by_role("cell", name="traced-base v1 (fine_tuned)")).to_be_visible()
    no_barrier(page)


def test_the_drawing_is_moved_by_the_keyboard_and_fits_a_phone(platform: Platform, page: Page) -> None:
    page.goto(where(platform, "lineage/?node=model:traced"))
    drawing = page.locator("svg.lineage")
    before = drawing.bounding_box()
    page.get_by_role("region", name="The graph").press("+")
    after = drawing.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > before["width"]
    fits_a_phone(page)
    with page.expect_download() as svg:
        page.get_by_role("link", name="SVG").click()
    assert svg.value.suggested_filename == "lineage-model-traced.svg"
    no_barrier(page)


def test_a_bad_dataset_quarantines_what_came_of_it(platform: Platform, lena: MLOpsClient, page: Page) -> None:
    page.goto(where(platform, "datasets/"))
    page.get_by_role("link", name="rows").click()
    page.get_by_label("Reason").fill("labels were swapped")
    no_barrier(page)
    page.get_by_role("button", name="Mark as bad").click()
    expect(page.get_by_role("link", name="traced-api")).to_be_visible()
    no_barrier(page)
    page.get_by_label("Reason").fill("trained on swapped labels")
    page.get_by_label("Endpoints that serve one").select_option(label="Go on serving")
    page.get_by_role("button", name="Quarantine", exact=True).click()
    expect(page.get_by_text("2 versions are quarantined")).to_be_visible()
    assert lena.get_model_version("traced", 1).status == "Quarantined"
    assert lena.predict("traced-api", ["abc"]) == [3]  # what serves goes on serving
    page.get_by_role("button", name="Release them again").click()
    expect(page.get_by_text("2 versions are released")).to_be_visible()
    assert lena.get_model_version("traced", 1).status == "Ready"
    page.goto(where(platform, "models/traced/versions/1/"))
    page.get_by_role("link", name="Reproduce").click()
    expect(page.get_by_text("was not started from training code")).to_be_visible()
    no_barrier(page)
