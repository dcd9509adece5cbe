"""What a replica may fetch: the files of its own model, by its own key, while it is wanted."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from deployments.choices import RevisionState
from deployments.engines.ray import key_of
from deployments.models import Deployment, DeploymentRevision
from tests.factories import make_person, make_project, make_version

pytestmark = pytest.mark.django_db


def test_a_replica_gets_the_files_of_its_model_and_of_no_other() -> None:
    person = make_person(make_project())
    version = make_version(person, "adder", files={"model/predictor.py": b"pass", "model/w.bin": b"123"})
    other = make_version(person, "other", files={"model/secret.bin": b"456"})
    rows = [
        DeploymentRevision.objects.create(
            deployment=Deployment.objects.create(
                project=person.project,
                endpoint_name=one.model.name,
                model=one.model,
                created_by=person.user,
            ),
            number=1,
            service_id=f"svc-{one.model.name}",
            version=one,
            created_by=person.user,
        )
        for one in (version, other)
    ]
    client, address = APIClient(), "/api/v1/services/svc-adder/files"
    mine = {"X-Serving-Key": key_of("svc-adder")}
    files = {file["path"]: file["sha256"] for file in client.get(address, headers=mine).json()["files"]}
    assert len(files) == 2
    for path, content in (("predictor.py", b"pass"), ("w.bin", b"123")):
        (digest,) = [sha256 for name, sha256 in files.items() if name.endswith(path)]
        assert b"".join(client.get(f"{address}/{digest}", headers=mine).streaming_content) == content
    foreign = other.manifest.files.get().blob.sha256
    assert client.get(f"{address}/{foreign}", headers=mine).status_code == 401
    assert client.get(address, headers={"X-Serving-Key": key_of("svc-other")}).status_code == 401
    assert client.get(address).status_code == 401
    assert client.post(address, headers=mine).status_code == 405
    rows[0].state = RevisionState.RETIRED
    rows[0].save()
    assert client.get(address, headers=mine).status_code == 401
