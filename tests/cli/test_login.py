"""Signing in and out, settings, and whose door the audit trail names."""

from __future__ import annotations

import configparser
import os
import pty
import select
import stat
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from accounts.choices import Scope
from tests.cli.conftest import CommandLine
from tests.factories import make_person

NOTHING = {"PODSTACK_API_TOKEN": "", "PODSTACK_API_ENDPOINT": "", "PODSTACK_PROJECT": ""}


def sign_in(podstack: CommandLine, *words: str, code: int = 0) -> str:
    typed = podstack.person.token + "\n"
    return podstack("login", "--endpoint", podstack.url, *words, typed=typed, code=code, **NOTHING).output


def credentials(home: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(home / ".podstack" / "credentials")
    return parser


def test_login_keeps_what_works_where_only_the_owner_reads(podstack: CommandLine, home: Path) -> None:
    assert f"Signed in to {podstack.url} as ada" in sign_in(podstack)
    path = home / ".podstack" / "credentials"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["credentials"]
    assert dict(credentials(home)["default"]) == {
        "api_endpoint": podstack.url,
        "api_token": podstack.person.token,
    }
    assert podstack("whoami", **NOTHING).stdout.splitlines()[0].split() == ["User", "ada"]


def test_login_keeps_other_profiles(podstack: CommandLine, viewer: CommandLine, home: Path) -> None:
    sign_in(podstack)
    sign_in(viewer, "--profile", "reader", "--project", "vision/")
    assert set(credentials(home).sections()) == {"default", "reader"}
    assert credentials(home)["reader"]["project"] == "vision/"
    sign_in(viewer, "--profile", "reader", "--project", "vision")
    users = [podstack("whoami", "--profile", name, **NOTHING).stdout for name in ("default", "reader")]
    assert ["ada" in text for text in users] == [True, False]
    assert "vic" in podstack("whoami", **NOTHING, PODSTACK_PROFILE="reader").stdout
    assert "no section [other]" in podstack("whoami", "--profile", "other", code=2).stderr


def test_login_refuses_what_does_not_work_and_keeps_nothing(podstack: CommandLine, home: Path) -> None:
    wrong = "podstack_aaaaaaaa_" + "x" * 40
    refused = podstack("login", typed=wrong + "\n", code=3)
    assert wrong not in refused.output
    assert "Error: " in refused.stderr
    assert "two words" not in podstack("login", typed="two words\n", code=3).output
    assert podstack("login", typed="", code=3).stdout == ""
    assert podstack("login", "--endpoint", "ftp://x", typed=wrong, code=2).stdout == ""
    assert podstack("login", "--profile", "a]b", typed=wrong, code=2).stdout == ""
    assert not (home / ".podstack").exists()


def test_login_says_when_the_environment_comes_first(podstack: CommandLine) -> None:
    result = podstack("login", typed=podstack.person.token)
    assert "PODSTACK_API_TOKEN is set and comes before" in result.stderr


def test_logout_forgets_the_token(podstack: CommandLine, home: Path) -> None:
    sign_in(podstack)
    podstack("logout", **NOTHING)
    assert podstack.person.token not in (home / ".podstack" / "credentials").read_text()
    assert "Hint: Sign in with `podstack login`" in podstack("whoami", code=3, **NOTHING).stderr
    assert "nothing was changed" in podstack("logout", **NOTHING).stderr


def test_a_file_that_cannot_be_read_does_not_show_its_token(podstack: CommandLine, home: Path) -> None:
    (home / ".podstack").mkdir()
    for text in (f"api_token = {podstack.person.token}\n", f"[default]\n{podstack.person.token}\n"):
        (home / ".podstack" / "credentials").write_text(text)
        assert "cannot be read: line " in podstack("whoami", code=2).stderr


def test_a_link_to_the_file_stays_a_link(podstack: CommandLine, home: Path) -> None:
    kept = home / "dotfiles"
    kept.write_text("[other]\napi_token = podstack_x\n")
    (home / ".podstack").mkdir()
    (home / ".podstack" / "credentials").symlink_to(kept)
    sign_in(podstack)
    assert (home / ".podstack" / "credentials").is_symlink()
    assert set(credentials(home).sections()) == {"other", "default"}


def test_whoami_in_json_is_what_rest_says(podstack: CommandLine) -> None:
    assert podstack.json("whoami")["user"] == podstack.person.api.get("/api/v1/me").json()["user"]
    assert set(podstack.json("whoami")) == set(podstack.person.api.get("/api/v1/me").json())


def test_a_token_is_asked_for_when_the_option_says_so(podstack: CommandLine) -> None:
    result = podstack("whoami", "--token", "-", typed=podstack.person.token, PODSTACK_API_TOKEN="wrong")
    assert "ada" in result.stdout


def test_a_token_without_the_scope_is_told(podstack: CommandLine) -> None:
    reader = make_person(podstack.person.project, scopes=(Scope.READ,))
    result = podstack("models", "register", "iris", code=3, PODSTACK_API_TOKEN=reader.token)
    assert "read" in result.stderr or "write" in result.stderr


@pytest.mark.parametrize("typed_endpoint", [True, False])
def test_on_a_terminal_the_token_is_not_echoed(
    podstack: CommandLine, home: Path, typed_endpoint: bool
) -> None:
    ours, theirs = pty.openpty()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PODSTACK_API")}
    if not typed_endpoint:
        environ["PODSTACK_API_ENDPOINT"] = podstack.url
    process = subprocess.Popen(
        [sys.executable, "-m", "podstack", "login"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    if typed_endpoint:
        seen += read_until(ours, b"Endpoint")
        os.write(ours, podstack.url.encode() + b"\n")
    seen += read_until(ours, b"API token:")
    wait_until_silent(ours)
    os.write(ours, podstack.person.token.encode() + b"\n")
    seen += read_until(ours, b"Signed in")
    assert process.wait(timeout=30) == 0
    assert podstack.person.token.encode() not in seen
    assert podstack.person.token in (home / ".podstack" / "credentials").read_text()


def read_until(terminal: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        assert select.select([terminal], [], [], 30)[0], seen
        seen += os.read(terminal, 1024)
    return seen


def wait_until_silent(terminal: int) -> None:
    """The echo is switched off after the question is shown, and what was typed before that is thrown away."""
    deadline = time.monotonic() + 30
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        assert time.monotonic() < deadline
        time.sleep(0.01)
