"""The chain that a version comes from and leads to, made by the verbs."""

from __future__ import annotations

from deployments.services import deploy
from registry.aliases import set_alias
from registry.choices import VersionStatus
from registry.inputs import use_model
from registry.models import ModelVersion
from registry.services import create_version
from tests.factories import Person, add_files
from tracking.services import end_run, log_dataset, start_run


def a_chain(person: Person) -> tuple[ModelVersion, ModelVersion]:
    """dataset -> run -> iris v1 -> (fine-tuned by a second run) iris v2, known as champion, at the endpoint iris-api."""
    where = {"actor": person.actor, "project": person.project}
    run = start_run(**where, experiment_id="exp")
    add_files(person, run, {"model/weights.txt": b"1 2 3"})
    log_dataset(
        **where,
        run_id=run.public_id,
        name="flowers",
        path="s3://data/flowers",
        digest="abc",
        context="training",
    )
    first = create_version(**where, model_name="iris", source_run_id=run.public_id, artifact_path="model")
    end_run(**where, run_id=run.public_id, status="Completed")
    ModelVersion.objects.update(status=VersionStatus.READY)
    tuned = start_run(**where, experiment_id="exp")
    use_model(**where, run_id=tuned.public_id, model_name="iris", version=1)
    add_files(person, tuned, {"model/weights.txt": b"4 5 6"})
    second = create_version(
        **where,
        model_name="iris",
        source_run_id=tuned.public_id,
        artifact_path="model",
        parent="iris/1",
        relation="fine_tuned",
    )
    end_run(**where, run_id=tuned.public_id, status="Completed")
    ModelVersion.objects.update(status=VersionStatus.READY)
    set_alias(**where, model_name="iris", alias="champion", version=2)
    deploy(**where, model_name="iris", version=2, endpoint_name="iris-api")
    return first, second
