"""Hostile text in every field that a person or a run fills."""

from __future__ import annotations

import json

from accounts import invitations, services, webhooks
from approvals import services as approval_verbs
from approvals.policies import set_approval_policy
from deployments import services as deployment_verbs
from registry import aliases
from registry import services as registry_verbs
from registry.models import ModelVersion
from scheduling import services as schedule_verbs
from tests.factories import Person, add_files, make_version
from tests.scheduling.factories import make_code
from tracking import alerts, datasets
from tracking import services as tracking_verbs
from tracking.models import Dataset, Run

EVIL = "\"'><script>alert(7)</script><img src=x onerror=alert(7)>"
LINK = "[a](javascript:alert(7)) <a href='javascript:alert(7)'>b</a>"
BACKWARDS = "\u202egnp.exe\u2066"
FORMULA = "=cmd|'/C calc'!A1"
LONG = "W" * 10_000
PROSE = f"{EVIL} {LINK} {BACKWARDS} {FORMULA} {LONG}"
NAME = f"{EVIL}{BACKWARDS}"
MODEL = f"<script>alert(7)<_script>{BACKWARDS}"


def make_hostile(ann: Person) -> dict[str, str]:
    """One of each thing in ann's project, all of whose texts are hostile; answers what addresses name them by."""
    whose = {"actor": ann.actor, "project": ann.project}
    services.update_project(**whose, name=NAME[:100], description=PROSE[:1000])
    services.create_token(actor=ann.actor, name=EVIL[:60], scopes=["read"])
    services.update_profile(actor=ann.actor, first_name=EVIL[:100], last_name=BACKWARDS, email="")
    webhooks.create_webhook(**whose, name=EVIL[:60], url="https://example.com/<script>", events=["version.*"])
    invitations.invite(**whose, email="x@example.com", role="viewer")
    run = _run(ann)
    approval = _model(ann, run)
    deployment_verbs.deploy(
        **whose,
        model_name=make_version(ann, "plain").model.name,
        version=1,
        endpoint_name="e",
        description=PROSE[:900],
    )
    experiment = run.experiment.public_id
    make_code(ann, EVIL, experiment=experiment)
    schedule = "<b>nightly<_b>"
    about = {"experiment_id": experiment, "cron": "0 3 * * *", "configuration": {EVIL: LINK}}
    schedule_verbs.create_schedule(**whose, name=schedule, **about)
    execution = schedule_verbs.trigger_schedule(**whose, name=schedule)
    return {
        "name": MODEL,
        "run_id": run.public_id,
        "experiment_id": experiment,
        "approval": approval,
        "schedule": schedule,
        "execution": execution.public_id,
        "endpoint": "e",
        "dataset_id": str(Dataset.objects.get(name=NAME).pk),
    }


def _run(ann: Person) -> Run:
    whose = {"actor": ann.actor, "project": ann.project}
    experiment = tracking_verbs.create_experiment(**whose, name=NAME, description=PROSE, tags=["<b>tag</b>"])
    run = tracking_verbs.start_run(
        **whose,
        experiment_id=experiment.public_id,
        name=NAME,
        tags={EVIL: PROSE[:4000]},
        code_version=EVIL,
        environment={EVIL: LINK},
    )
    ref = {**whose, "run_id": run.public_id}
    alerts.create_run_alert(**ref, condition="loss > 1", message=EVIL)
    tracking_verbs.log_params(**ref, params={EVIL: PROSE[:4000], "formula": FORMULA})
    series = [{"key": key, "values": [0.5, 2.5], "steps": [1, 2]} for key in (EVIL, LONG[:200], "loss")]
    tracking_verbs.log_metrics(**ref, series=series)
    words = {"path": EVIL, "description": PROSE, "digest": "<i>1</i>", "context": "<b>x</b>"}
    tracking_verbs.log_dataset(**ref, name=NAME, **words)
    datasets.mark_dataset(**whose, dataset_id=Dataset.objects.get(name=NAME).pk, reason=PROSE[:900])
    files = {
        "m/<script>alert(7)<_script>.txt": EVIL,
        "m/rows.csv": f"{EVIL},{FORMULA}",
        "m/a.json": json.dumps({EVIL: LINK}),
        "m/a.yaml": f"a: {EVIL}",
        "m/page.html": EVIL,
        "m/drawing.svg": f"<svg xmlns='http://www.w3.org/2000/svg'>{EVIL}</svg>",
    }
    add_files(ann, run, {path: text.encode() for path, text in files.items()})
    tracking_verbs.update_run(**ref, notes=PROSE)
    return tracking_verbs.end_run(**ref, status="Failed", error=PROSE[:4000])


def _model(ann: Person, run: Run) -> str:
    """Two versions of a model, one of which waits for approval under the id that this answers."""
    whose = {"actor": ann.actor, "project": ann.project}
    registry_verbs.register_model(
        **whose, name=MODEL, description=PROSE, tags=["<img src=x onerror=alert(7)>"]
    )
    for _ in range(2):
        made = {"source_run_id": run.public_id, "artifact_path": "m", "description": PROSE}
        registry_verbs.create_version(**whose, model_name=MODEL, **made)
    ModelVersion.objects.filter(model__name=MODEL).update(status="Ready")
    which = {**whose, "model_name": MODEL, "ref": 1}
    registry_verbs.set_version_tag(**which, key=EVIL, value=PROSE[:4000])
    registry_verbs.log_validation_metrics(**which, metrics={EVIL: 0.5})
    aliases.set_alias(**whose, model_name=MODEL, alias="champion", version=1)
    approval_verbs.transition_stage(**which, stage="Staging", note=PROSE[:4000])
    set_approval_policy(**whose, own_review=True)
    request = approval_verbs.transition_stage(**which, stage="Production", note=PROSE[:4000])
    approval_verbs.comment_approval(**whose, request_id=request.public_id, text=PROSE[:4000])
    approval_verbs.reject(**whose, request_id=request.public_id, comment=PROSE[:4000])
    again = approval_verbs.transition_stage(**which, stage="Production", note=PROSE[:4000])
    return str(again.public_id)
