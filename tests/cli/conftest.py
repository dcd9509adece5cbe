"""The command line against the real server: PostgreSQL, files, and HTTP in between."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from accounts.choices import Role
from accounts.models import AuditEntry
from podstack.cli import root
from tests.factories import Person, make_person, make_project

# The server in this process may log while a command's streams stand in for the process's own, or to those of a test
# that has ended; what logging says of that is none of the command's words.
logging.raiseExceptions = False


@dataclass(frozen=True)
class CommandLine:
    """Runs commands as one person would, in this process."""

    person: Person
    url: str

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PODSTACK_API_TOKEN": self.person.token,
            "PODSTACK_API_ENDPOINT": self.url,
            "PODSTACK_PROJECT": self.person.project.slug,
        }

    def __call__(self, *words: str, code: int = 0, typed: str = "", **environ: str) -> Result:
        """The result of `podstack …`, which is to end with this code and never shows the token."""
        result = CliRunner().invoke(root, words, input=typed, env={**self.environ, **environ})
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        assert self.person.token not in result.output
        return result

    def json(self, *words: str) -> Any:
        """The one JSON document that a command prints."""
        return json.loads(self(*words, "--output", "json").stdout)

    def table(self, *words: str) -> list[list[str]]:
        """Rows of cells that stand two or more blanks apart, the header first."""
        lines = self(*words).stdout.splitlines()
        return [[part.strip() for part in line.split("  ") if part.strip()] for line in lines]

    def rest(self, path: str) -> Any:
        """What the REST API itself answers at a path below the project."""
        return self.person.api.get(self.person.base + path).json()

    def doors(self) -> set[str]:
        """The doors that the audit trail names for what this person did with a token."""
        entries = AuditEntry.objects.filter(actor=self.person.user).exclude(token_prefix="")
        return set(entries.values_list("door", flat=True))


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without credentials."""
    for name in [name for name in os.environ if name.startswith("PODSTACK_API")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def project(transactional_db: None) -> Any:
    return make_project("vision")


@pytest.fixture
def podstack(live_server: Any, project: Any) -> CommandLine:
    """The command line of an administrator of the project."""
    return CommandLine(make_person(project, Role.ADMIN, username="ada"), live_server.url)


@pytest.fixture
def viewer(live_server: Any, project: Any) -> CommandLine:
    """The command line of somebody who may only read."""
    return CommandLine(make_person(project, Role.VIEWER, username="vic"), live_server.url)


@pytest.fixture
def stranger(live_server: Any, project: Any) -> CommandLine:
    """The command line of somebody who is no member."""
    return CommandLine(make_person(project, None, username="sam"), live_server.url)
