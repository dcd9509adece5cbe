"""Members, tokens and the audit trail by the SDK and the command line."""

from __future__ import annotations

import pytest

from podstack import MLOpsClient
from tests.cli.conftest import CommandLine
from tests.factories import make_user


def test_members_come_change_and_go(podstack: CommandLine) -> None:
    make_user("bob")
    own = podstack.person.user.username
    assert podstack.json("members", "set", "bob", "viewer")["role"] == "viewer"
    assert podstack.json("members", "set", "bob", "maintainer")["role"] == "maintainer"
    assert {row["username"] for row in podstack.json("members", "list")} == {own, "bob"}
    podstack("members", "rm", "bob", "--yes")
    assert [row["username"] for row in podstack.json("members", "list")] == [own]
    assert "last admin" in podstack("members", "rm", own, "--yes", code=1).stderr
    podstack("members", "set", "nobody-here", "viewer", code=4)
    podstack("members", "set", "bob", "king", code=2)


def test_a_token_is_made_listed_and_revoked(podstack: CommandLine) -> None:
    made = podstack.json("tokens", "create", "ci", "--scope", "read", "--days", "30")
    assert made["token"].startswith(f"podstack_{made['prefix']}_") and made["scopes"] == ["read"]
    (listed,) = podstack.json("tokens", "list")
    assert (listed["prefix"], listed.get("token") or "") == (made["prefix"], "")
    podstack("tokens", "revoke", made["prefix"], "--yes")
    assert podstack.json("tokens", "list")[0]["revoked_at"]
    podstack("tokens", "revoke", "00000000", "--yes", code=4)


def test_the_trail_is_read_and_filtered(podstack: CommandLine) -> None:
    podstack("models", "register", "iris")
    rows = podstack.json("audit", "list", "--verb", "register_model", "--since", "2020-01-01")
    assert [(row["object_id"], row["door"]) for row in rows] == [("iris", "cli")]
    assert podstack.json("audit", "list", "--actor", "nobody") == []
    assert "iris" in podstack("audit", "list", "--door", "cli").stdout
    podstack("audit", "list", "--since", "soon", code=1)


@pytest.fixture
def client(podstack: CommandLine) -> MLOpsClient:
    person = podstack.person
    return MLOpsClient(api_token=person.token, api_endpoint=podstack.url, project=person.project.slug)


def test_a_new_token_does_not_show_in_a_log(client: MLOpsClient) -> None:
    made = client.create_token("notebook", expires_in_days=1)
    assert made.token and made.token not in repr(made)
    assert made.expires_at is not None and made.project == client.project
