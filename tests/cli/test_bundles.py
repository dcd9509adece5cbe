"""Versions that go elsewhere."""

from __future__ import annotations

from pathlib import Path

from accounts.choices import Role
from accounts.models import Membership
from tests.cli.conftest import CommandLine
from tests.factories import make_project, make_version


def test_a_version_is_copied_into_another_project(podstack: CommandLine) -> None:
    make_version(podstack.person, "iris")
    other = make_project("other")
    podstack("versions", "copy", "iris/1", "other", code=4)
    Membership.objects.create(project=other, user=podstack.person.user, role=Role.ADMIN)
    made = podstack.json("versions", "copy", "iris", "1", "other", "--model", "rose")
    assert (made["model_name"], made["version"]) == ("rose", 1)
    assert podstack.json("versions", "show", "rose/1", "--project", "other")["origin"]
    podstack("versions", "copy", "iris/1", code=2)


def test_a_version_goes_out_as_a_file_and_comes_back(podstack: CommandLine, tmp_path: Path) -> None:
    make_version(podstack.person, "iris")
    bundle = tmp_path / "iris.zip"
    assert f"{bundle} holds iris, version 1." in podstack("versions", "export", "iris/1", str(bundle)).stderr
    back = podstack.json("versions", "import", str(bundle), "--model", "rose", "--no-wait")
    assert (back["model_name"], back["version"]) == ("rose", 1)
    assert podstack.doors() == {"cli"}
    podstack("versions", "export", "iris/1", str(tmp_path), code=2)
    podstack("versions", "export", "iris/7", str(tmp_path / "none.zip"), code=4)
    assert not (tmp_path / "none.zip").exists()
    bundle.write_bytes(b"no bundle")
    assert podstack("versions", "import", str(bundle), code=1).stderr.startswith("Error: ")
    podstack("versions", "import", str(tmp_path / "none.zip"), code=2)


def test_the_key_is_shown(podstack: CommandLine, viewer: CommandLine) -> None:
    assert viewer.json("versions", "bundle-key") == podstack.person.api.get("/api/v1/bundle-key").json()
