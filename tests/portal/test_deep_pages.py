"""Pages far down a list show what belongs there."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from registry.models import RegisteredModel
from tests.factories import make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("ordering", ["name", "-name", "version_count"])
def test_a_deep_page_shows_the_rows_that_stand_there(ordering: str) -> None:
    ann = make_person(make_project("alpha"))
    RegisteredModel.objects.bulk_create(
        RegisteredModel(project=ann.project, name=f"m{n:05}", created_by=ann.user, version_count=n)
        for n in range(1203)
    )
    client = Client()
    client.force_login(ann.user)
    names = []
    for page in (20, 21, 22, 24, 25):
        answer = client.get(f"/projects/alpha/models/?ordering={ordering}&page={page}")
        found = re.findall(r"/models/(m\d+)/\"", answer.content.decode())
        names.append(list(dict.fromkeys(found)))
    expected = sorted((f"m{n:05}" for n in range(1203)), reverse=ordering.startswith("-"))
    wanted = [expected[(page - 1) * 50 : page * 50] for page in (20, 21, 22, 24, 25)]
    assert names == wanted
