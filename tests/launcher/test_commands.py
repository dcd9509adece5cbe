"""What the platform's own processes are told by their environment."""

from __future__ import annotations

from config.env import load
from launcher import commands


def test_the_gateway_has_its_own_bounds_and_of_the_platforms_secrets_the_databases_address_alone() -> None:
    given = {"GATEWAY_BODY_SECONDS": "20", "GATEWAY_MAX_HELD_BYTES": "", "SECRET_KEY": "s" * 40}
    child = commands.gateway(load({"DATABASE_URL": "postgresql://u:p@h/d"}), {"PATH": "/bin", **given})
    assert child.env["GATEWAY_BODY_SECONDS"] == "20" and child.env["DATABASE_URL"] == "postgresql://u:p@h/d"
    assert "SECRET_KEY" not in child.env and "GATEWAY_MAX_HELD_BYTES" not in child.env
