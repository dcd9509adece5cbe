"""What the database says by itself when a route or somebody's access changed."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import connection

from accounts.models import ApiToken, Membership
from deployments.models import Deployment
from tests.deployments.conftest import a_quick_version, deploy
from tests.factories import Person

pytestmark = pytest.mark.django_db(transaction=True)


def told(listener: psycopg.Connection[Any], channel: str) -> set[int]:
    """Ids that were told of on the channel since the last call."""
    connection.ensure_connection()
    found = list(listener.notifies(timeout=1))
    return {int(one.payload) for one in found if one.channel == channel}


def test_a_change_of_an_endpoint_is_told_with_its_id(ada: Person) -> None:
    version = a_quick_version(ada)
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as listener:
        listener.execute("LISTEN routes")
        deploy(ada, version)
        deployment = Deployment.objects.get()
        assert told(listener, "routes") == {deployment.pk}
        deployment.revisions.update(state="Active")
        assert told(listener, "routes") == {deployment.pk}
        deployment.revisions.all().delete()
        assert told(listener, "routes") == {deployment.pk}


def test_a_change_of_access_is_told_with_the_users_id_and_a_use_is_not(ada: Person) -> None:
    tokens, members = ApiToken.objects.filter(user=ada.user), Membership.objects.filter(user=ada.user)
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as listener:
        listener.execute("LISTEN tokens")
        tokens.update(last_used_at="2026-01-01T00:00:00Z")
        assert told(listener, "tokens") == set()
        tokens.update(revoked_at="2026-01-01T00:00:00Z")
        assert told(listener, "tokens") == {ada.user.pk}
        members.update(role="viewer")
        assert told(listener, "tokens") == {ada.user.pk}
        members.all().delete()
        assert told(listener, "tokens") == {ada.user.pk}
        type(ada.user).objects.filter(pk=ada.user.pk).update(is_active=False)
        assert told(listener, "tokens") == {ada.user.pk}
