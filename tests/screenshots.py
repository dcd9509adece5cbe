"""`make screenshots`: starts the platform, fills it with demo data, and takes docs/screenshots/ in headless Chromium.

Words choose pages and kinds: `python -m tests.screenshots model run-live light-desktop`; `--out FOLDER` where they go.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from podstack import MLOpsClient
from tests.e2e.browser import open_chromium
from tests.e2e.conftest import ROOT, Platform, start_platform, stop_platform

KINDS = {
    "light-desktop": ("light", 1280, 860),
    "dark-desktop": ("dark", 1280, 860),
    "light-phone": ("light", 375, 760),
    "dark-phone": ("dark", 375, 760),
}
SHOWN = (
    *("models", "model", "version", "compare-runs", "experiments", "run", "approvals", "approval"),
    *("deployment", "deployments", "deploy", "schedules", "lineage", "impact", "sign-in"),
)
MODELS = {
    "sentiment-classifier": (
        "Sentiment of product reviews, English and German.",
        ["nlp", "production-ready"],
    ),
    "churn-predictor": ("Which customers leave within 30 days.", ["tabular", "marketing"]),
    "fraud-detector": ("Scores card payments while they are authorised.", ["tabular", "risk"]),
    "image-tagger": ("Labels of catalogue photos, 1,200 classes.", ["vision"]),
    "demand-forecast-for-every-warehouse-and-season": ("Units per week and warehouse.", ["forecast"]),
    "search-ranker": ("Order of results in the shop's search.", ["ranking"]),
}
PREDICTOR = """
class Predictor:
    def load(self, path):
        pass

    def predict(self, rows):
        return [{"label": "good" if "great" in str(row) else "bad"} for row in rows]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="pages or kinds")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--whole", action="store_true", help="the whole page instead of what a screen shows")
    options = parser.parse_args()
    options.only = options.only or [*SHOWN, *KINDS]
    with tempfile.TemporaryDirectory(prefix="shots-") as folder:
        Path(folder).chmod(0o755)
        platform = start_platform(Path(folder) / "var")
        try:
            pages = fill(platform, Path(folder))
            with open_chromium() as browser:
                for kind in KINDS:
                    for name, page in shots(browser, platform, kind, pages, options.only):
                        options.out.mkdir(parents=True, exist_ok=True)
                        target = options.out / f"{name}-{kind}.png"
                        page.screenshot(path=target, full_page=options.whole, animations="disabled")
                        print(target)
        finally:
            stop_platform(platform)


def shots(
    browser: Browser, platform: Platform, kind: str, pages: dict[str, str], only: list[str]
) -> Iterator[tuple[str, Page]]:
    """Each page that is wanted in this kind, open and at rest."""
    kinds, names = [word for word in only if word in KINDS], [word for word in only if word not in KINDS]
    if kinds and kind not in kinds:
        return
    scheme, width, height = KINDS[kind]
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.goto(platform.url)
    if not names or "sign-in" in names:
        yield "sign-in", page
    page.fill("#id_login", "ray")
    page.fill("#id_password", "ray-password-1")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
    for name, path in pages.items():
        if not names or name in names:
            page.goto(f"{platform.url}{path}")
            page.wait_for_timeout(500)
            yield name, page


def fill(platform: Platform, folder: Path) -> dict[str, str]:
    """A team's month of work; answers {page: path}."""
    ann, ray = platform.member("ann", "contributor"), platform.member("ray", "maintainer")
    bob = platform.member("bob", "maintainer")
    dice = random.Random(7)
    for name, (description, tags) in MODELS.items():
        ann.register_model(name, description=description, tags=tags)
        for number in range(dice.randint(2, 5)):
            _version(ann, folder, name, 0.86 + 0.02 * number + dice.random() / 100, dice)
        ann.transition_model_version_stage(name, 1, "Production", note="First one that beats the rules.")
        ann.set_model_alias(name, "champion", 1)
    name = "sentiment-classifier"
    ann.set_model_version_tag(name, 2, "validated_by", "data team")
    ray.set_approval_policy(
        approvals_needed=2,
        reviewers=["ray", "bob"],
        checks=[
            {"check": "metric_at_least", "metric": "accuracy", "value": 0.85},
            {"check": "not_worse", "metric": "f1", "tolerance": 0.01},
        ],
    )
    note = "Better on the new holdout set; please look at recall for rare classes."
    request = ann.transition_model_version_stage(name, 2, "Production", note=note).approval
    assert request is not None
    ray.comment_approval(request.id, "Which data was it tested on? I would like to see the March set too.")
    ann.comment_approval(request.id, "March and April, see the run.")
    bob.approve(request.id, "Metrics look good to me.")
    deployment = ann.deploy_model(name, 1, endpoint_name="sentiment-api").wait()
    for _ in range(30):
        ann.predict(deployment.endpoint_name, [{"text": "a great day"}])
    (folder / "train.py").write_text("print('trained on 120,000 reviews')")
    code = folder / "training"
    code.mkdir()
    (folder / "train.py").rename(code / "train.py")
    (experiment,) = (each for each in ann.list_experiments() if each.name == "sentiment")
    ann.upload_training_code(experiment.id, code, command=["python", "train.py"])
    ann.create_schedule("nightly-sentiment", experiment.id, "0 2 * * *", timezone="Europe/Berlin")
    ann.create_schedule("weekly-on-everything", experiment.id, "30 4 * * 0")
    ann.wait_for_execution(ann.trigger_schedule("nightly-sentiment").id)
    live = ann.start_run("sentiment", name="bert-large, second try")
    runs = [each.id for each in ann.search_runs("metrics.accuracy > 0")][:4]
    with live as run:
        run.log_params({"lr": 3e-5, "epochs": 4, "optimizer": "adamw", "batch_size": 32})
        _curves(run, 0.93, dice, 120)
        run.flush()
    project = f"/projects/{platform.env['PODSTACK_PROJECT']}"
    chosen = "&".join(f"run={run_id}" for run_id in runs)
    return {
        "models": f"{project}/models/",
        "versions": f"{project}/versions/?filter=metrics.accuracy+%3E+0.87",
        "model": f"{project}/models/{name}/",
        "version": f"{project}/models/{name}/versions/2/",
        "compare-versions": f"{project}/models/{name}/compare/?v=1&v=2&chart=parallel",
        "compare-runs": f"{project}/compare-runs/?{chosen}",
        "compare-scatter": f"{project}/compare-runs/?{chosen}&chart=scatter",
        "compare-bars": f"{project}/compare-runs/?{chosen}&chart=bars",
        "experiments": f"{project}/experiments/",
        "run": f"{project}/runs/{run.id}/",
        "approvals": f"{project}/approvals/",
        "approval": f"{project}/approvals/{request.id}/",
        "change-stage": f"{project}/models/{name}/versions/2/stage/",
        "many": f"{project}/models/{name}/many/?v=1&v=2",
        "deployments": f"{project}/deployments/",
        "deployment": f"{project}/deployments/{deployment.endpoint_name}/",
        "deploy": f"{project}/models/{name}/versions/1/deploy/",
        "change": f"{project}/deployments/{deployment.endpoint_name}/change/",
        "try": f"{project}/deployments/{deployment.endpoint_name}/try/",
        "logs": f"{project}/deployments/{deployment.endpoint_name}/logs/",
        "schedules": f"{project}/schedules/",
        "protections": f"{project}/protections/",
        "trash": f"{project}/trash/",
        "audit": f"{project}/audit/",
        "members": f"{project}/members/",
        "lineage": f"{project}/lineage/?node=version:{name}/1",
        "impact": f"{project}/impact/?node=version:{name}/1",
        "datasets": f"{project}/datasets/",
        "reproduce": f"{project}/models/{name}/versions/1/reproduce/",
    }


def _version(client: MLOpsClient, folder: Path, model: str, accuracy: float, dice: random.Random) -> None:
    predictor = folder / "predictor.py"
    predictor.write_text(PREDICTOR)
    with client.start_run(model.split("-")[0], name=f"{model[:18]} {accuracy:.3f}") as run:
        run.log_params({"lr": round(10 ** dice.uniform(-5, -2), 6), "epochs": 10, "optimizer": "adamw"})
        run.log_dataset(f"{model}-train", path=f"s3://datasets/{model}/2026-03", description="March, cleaned")
        _curves(run, accuracy, dice, 60)
        run.log_artifact(predictor)
    client.create_model_version(
        model, run.id, "predictor.py", description=f"Trained on March data, accuracy **{accuracy:.3f}**."
    )


def _curves(run: Any, accuracy: float, dice: random.Random, steps: int) -> None:
    for step in range(steps):
        grown = 1 - math.exp(-4 * (step + 1) / steps)
        noise = dice.gauss(0, 0.004)
        run.log_metrics(
            {
                "accuracy": accuracy * grown + noise,
                "f1": (accuracy - 0.03) * grown + noise,
                "loss": 1.2 * (1 - grown) + 0.08 + abs(noise) * 3,
            },
            step=step,
        )


if __name__ == "__main__":
    main()
