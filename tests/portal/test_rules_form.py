"""The rules for Production on the page of approval policies: only who may change them can."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.choices import Role
from tests.factories import make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("role", "may"), [(Role.MAINTAINER, True), (Role.CONTRIBUTOR, False)])
def test_who_may_not_change_the_rules_finds_their_boxes_disabled(role: Role, may: bool) -> None:
    person = make_person(make_project("alpha"), role)
    client = Client()
    client.force_login(person.user)
    shown = client.get("/projects/alpha/approval-policies/").content.decode()
    assert 'name="one_production"' in shown
    assert ("<fieldset disabled>" in shown) == (not may)
    assert (">Save</button>" in shown) == may
    assert ("Maintainers and admins change this." in shown) == (not may)
