"""The numbered procedures of the specification that no other browser test follows, by the labels that stand there."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from podstack import MLOpsClient
from tests.e2e.conftest import Platform
from tests.e2e.test_approvals import chromium, signed_in  # noqa: F401
from tests.e2e.test_portal import no_barrier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pia(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> MLOpsClient:
    """A maintainer with a run that has a model in a folder."""
    client = platform.member("pia", "maintainer")
    folder = tmp_path_factory.mktemp("procedures") / "model"
    folder.mkdir()
    (folder / "weights.txt").write_text("1 2 3")
    (folder / "config.json").write_text('{"layers": 3}')
    with client.start_run("procedures", name="the run") as run:
        run.log_metrics({"accuracy": 0.9})
        run.log_artifact(folder)
    for name in ("there", "deleted-by-hand"):
        client.create_model_version(name, run.id, "model")
    return client


@pytest.fixture
def page(platform: Platform, pia: MLOpsClient, chromium) -> Iterator[Page]:  # noqa: F811
    opened = signed_in(chromium, platform, "pia")
    complaints: list[str] = []
    opened.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    foreign: list[str] = []
    opened.on("request", lambda r: foreign.append(r.url) if not r.url.startswith(platform.url) else None)
    yield opened
    opened.context.close()
    assert (complaints, foreign) == ([], [])


def where(platform: Platform, path: str) -> str:
    return f"{platform.url}/projects/default/{path}"


def test_from_an_experiment_run(platform: Platform, pia: MLOpsClient, page: Page) -> None:
    (run,) = (each for each in pia.search_runs() if each.name == "the run")
    page.goto(where(platform, f"runs/{run.id}/"))
    page.get_by_role("link", name="config.json").first.click()
    expect(page.get_by_text('"layers": 3')).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Register to Model Registry").first.click()
    page.get_by_label("Model name").fill("by-procedure")
    page.get_by_label("Artifact").fill("model")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="by-procedure v1")).to_be_visible()
    assert pia.get_model_version("by-procedure", 1).source_run_id == run.id


def test_annotations_are_set_and_removed(platform: Platform, page: Page) -> None:
    page.goto(where(platform, "models/there/versions/1/"))
    page.get_by_label("Key").fill("validated_by")
    page.get_by_label("Value").fill("data team")
    page.get_by_role("button", name="Set annotation").click()
    set_one = page.locator("#annotations").get_by_text("data team", exact=True)
    expect(set_one).to_be_visible()
    page.get_by_role("link", name="Remove validated_by").click()
    page.get_by_role("dialog", name="Remove validated_by of there v1?").get_by_role(
        "button", name="Remove"
    ).click()
    expect(set_one).to_have_count(0)


def test_downloading_a_file_and_several(platform: Platform, page: Page) -> None:
    page.goto(where(platform, "models/there/versions/1/"))
    page.get_by_role(
        "link", name="Download", exact=True
    ).first.click()  # leads to the artifacts: there are several
    with page.expect_download() as one:
        page.locator("#artifacts").get_by_role("link", name="Download").last.click()
    assert one.value.suggested_filename == "weights.txt"
    assert Path(one.value.path()).read_text() == "1 2 3"
    page.get_by_label("Choose config.json").check()
    with page.expect_download() as some:
        page.get_by_role("button", name="Download as zip").click()
    with zipfile.ZipFile(io.BytesIO(Path(some.value.path()).read_bytes())) as archive:
        assert archive.namelist() == ["config.json"]


def test_creating_a_schedule(platform: Platform, pia: MLOpsClient, page: Page, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('trained')")
    (experiment,) = (each for each in pia.list_experiments() if each.name == "procedures")
    pia.upload_training_code(experiment.id, tmp_path, command=["python", "train.py"])
    page.goto(where(platform, "models/"))
    page.get_by_role("navigation", name="MLOps").get_by_role("link", name="Schedules").click()
    page.get_by_role("link", name="Create Schedule").first.click()
    page.get_by_label("Name").fill("every-night")
    page.get_by_label("Experiment").fill("procedures")
    page.get_by_label("Cron Expression").fill("0 3 * * *")
    expect(page.locator("#times")).to_contain_text("03:00")
    no_barrier(page)
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("heading", name="every-night")).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#executions").get_by_text("Succeeded")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused").first).to_be_visible()
    assert pia.get_schedule("every-night").paused


def test_deleting_a_version(platform: Platform, pia: MLOpsClient, page: Page) -> None:
    page.goto(where(platform, "models/deleted-by-hand/versions/1/"))
    page.get_by_role("link", name="Delete Version").click()
    button = page.get_by_role("button", name="Delete Version")
    expect(button).to_be_disabled()
    page.get_by_label("Type v1 to confirm").fill("v1")
    button.click()
    expect(page.get_by_text("The version is deleted.")).to_be_visible()
    assert list(pia.list_model_versions("deleted-by-hand")) == []


def test_lineage_is_seen_from_the_models_page(platform: Platform, page: Page) -> None:
    page.goto(where(platform, "models/there/"))
    page.get_by_role("link", name="Lineage").click()
    expect(page.get_by_role("heading", name="Lineage")).to_be_visible()
    expect(page.locator("svg.lineage")).to_contain_text("the run")


def test_signing_out_ends_the_session(platform: Platform, pia: MLOpsClient, chromium: Browser) -> None:  # noqa: F811
    opened = signed_in(chromium, platform, "pia")
    opened.goto(where(platform, "models/"))
    before = {each["name"]: each["value"] for each in opened.context.cookies()}
    opened.get_by_label("Account: pia").click()
    opened.get_by_role("button", name="Sign out").click()
    expect(opened.get_by_label("Password")).to_be_visible()
    opened.goto(where(platform, "models/"))
    expect(opened.get_by_label("Password")).to_be_visible()
    answer = requests.get(where(platform, "models/"), cookies=before, allow_redirects=False, timeout=60)
    assert answer.status_code == 302  # the old cookie opens nothing
    opened.context.close()


def test_a_viewer_sees_no_button_that_viewers_may_not_press(
    platform: Platform,
    pia: MLOpsClient,
    chromium,  # noqa: F811
) -> None:
    platform.member("vera", "viewer")
    opened = signed_in(chromium, platform, "vera")
    forbidden = (
        "Register Model",
        "Delete Model",
        "Manage Aliases",
        "Edit",
        "Create Schedule",
        "Change Stage",
        "Deploy",
    )
    for path in ("models/", "models/there/", "models/there/versions/1/", "experiments/", "schedules/"):
        opened.goto(where(platform, path))
        for name in forbidden:
            for role in ("link", "button"):
                expect(opened.get_by_role(role, name=name, exact=True)).to_have_count(0)
    cookies = {each["name"]: each["value"] for each in opened.context.cookies()}
    address = where(platform, "models/there/delete/")
    assert requests.get(address, cookies=cookies, timeout=60).status_code == 403
    forged = {"confirm": "there", "csrfmiddlewaretoken": cookies["csrftoken"]}
    answer = requests.post(address, forged, cookies=cookies, headers={"Referer": address}, timeout=60)
    assert answer.status_code == 403
    assert pia.get_model("there").name == "there"
