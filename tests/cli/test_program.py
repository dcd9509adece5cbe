"""The program as a whole: exit codes, streams, colours, pages, and what it never prints."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

import podstack as sdk
from podstack.cli import root
from podstack.cli.door import Root, Verb, pass_door
from podstack.cli.output import cell, print_table, size
from registry.models import ModelVersion
from tests.cli.conftest import CommandLine
from tests.factories import make_version

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = [sys.executable, "-m", "podstack"]


def start(podstack: CommandLine, *words: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *words],
        env={**os.environ, **podstack.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_the_installed_program_and_the_module_are_the_same(podstack: CommandLine) -> None:
    process = start(podstack, "--version")
    assert process.communicate() == (f"podstack, version {sdk.__version__}\n", "")
    installed = Path(sys.executable).parent / "podstack"
    done = subprocess.run([installed, "--version"], capture_output=True, text=True)
    assert done.stdout == f"podstack, version {sdk.__version__}\n"


def test_a_process_answers_on_stdout_and_complains_on_stderr(podstack: CommandLine) -> None:
    make_version(podstack.person, "iris")
    out, err = start(podstack, "models", "list", "-o", "json").communicate(timeout=30)
    assert [row["name"] for row in json.loads(out)] == ["iris"]
    assert err == ""
    process = start(podstack, "models", "show", "rose", "-o", "json")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (4, "")
    assert err.startswith("Error: ")


def test_options_may_stand_before_and_behind_the_command(podstack: CommandLine) -> None:
    podstack("models", "register", "iris")
    assert json.loads(podstack("-o", "json", "models", "list").stdout)
    assert json.loads(podstack("-o", "table", "models", "list", "-o", "json").stdout)
    podstack("models", "list", "-o", "xml", code=2)


def test_the_project_of_the_option_comes_first(podstack: CommandLine) -> None:
    slug = podstack.person.project.slug
    podstack("--project", slug, "models", "list", PODSTACK_PROJECT="nothing")
    podstack("models", "list", "--project", "nothing", code=4)
    podstack("models", "list", "--endpoint", "not an address", code=2)


def test_nobody_at_the_address_is_told(podstack: CommandLine) -> None:
    refused = podstack("models", "list", "--endpoint", "http://127.0.0.1:1", code=5).stderr
    assert refused.startswith("Error: No answer from http://127.0.0.1:1")


def test_a_token_that_is_not_taken_is_told_but_not_shown(podstack: CommandLine) -> None:
    wrong = "podstack_aaaaaaaa_" + "x" * 40
    refused = podstack("models", "list", code=3, PODSTACK_API_TOKEN=wrong)
    assert wrong not in refused.output
    refused = podstack("models", "list", "--token", wrong + " ", code=3)
    assert wrong not in refused.output


def test_lists_come_page_by_page(podstack: CommandLine) -> None:
    for number in range(60):
        podstack.person.api.post(f"{podstack.person.base}/models", {"name": f"m{number:02}"}, format="json")
    assert len(podstack.json("models", "list")) == 60
    names = [row[0] for row in podstack.table("models", "list", "--order-by", "name")[1:]]
    assert names == [f"m{number:02}" for number in range(60)]
    assert len(podstack.json("models", "list", "--limit", "55")) == 55
    podstack("models", "list", "--limit", "0", code=2)


def test_a_reader_that_goes_away_is_no_failure(podstack: CommandLine) -> None:
    for number in range(60):
        podstack.person.api.post(f"{podstack.person.base}/models", {"name": f"m{number:02}"}, format="json")
    for words in (("models", "list", "-o", "json"), ("models", "list")):
        process = start(podstack, *words)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141
        process.stderr.close()


def test_ctrl_c_ends_it_without_a_traceback(podstack: CommandLine) -> None:
    make_version(podstack.person, "iris")
    ModelVersion.objects.update(servable=True)
    podstack("deployments", "deploy", "iris/1", "live")
    process = start(podstack, "deployments", "wait", "live")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "")


@pytest.mark.parametrize("plain", [False, True])
def test_colours_are_for_terminals_only(podstack: CommandLine, plain: bool) -> None:
    podstack("models", "register", "iris")
    assert "\x1b" not in podstack("models", "list").output
    ours, theirs = pty.openpty()
    environ = {**os.environ, **podstack.environ, "TERM": "xterm"}
    environ.pop("NO_COLOR", None)
    if plain:
        environ["NO_COLOR"] = "1"
    subprocess.run([*PROGRAM, "models", "list"], env=environ, stdout=theirs, stderr=theirs, cwd=ROOT)
    os.close(theirs)
    seen = os.read(ours, 10_000)
    os.close(ours)
    assert b"iris" in seen
    assert (b"\x1b[" in seen) is not plain


def test_a_defect_is_one_line_and_no_traceback() -> None:
    @click.command("burst", cls=Verb)
    @pass_door
    def burst(door: Any) -> None:
        raise RuntimeError("Something odd")

    result = CliRunner().invoke(Root("podstack", [burst]), ["burst"])
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: The command line itself failed with RuntimeError: Something odd \(test_program.py, line \d+\)\n"
        r"Hint: This is a defect; please report the line above.\n",
        result.stderr,
    )


def test_a_file_that_cannot_be_written_is_told(podstack: CommandLine) -> None:
    make_version(podstack.person, "iris")
    refused = podstack("versions", "download", "iris/1", "--to", "/proc/nowhere", code=1).stderr
    assert refused.startswith("Error: ")
    assert "/proc/nowhere" in refused


def test_every_command_explains_itself() -> None:
    for path, command in commands(root):
        result = CliRunner().invoke(root, [*path, "--help"])
        assert result.exit_code == 0
        assert command.help, path
        assert len(command.get_short_help_str(200)) > 10, path


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Each command with the words that lead to it."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        words = (*path, name)
        found += commands(command, words) if isinstance(command, click.Group) else [(words, command)]
    return found


def test_a_shell_can_complete_words(podstack: CommandLine) -> None:
    environ = {"_PODSTACK_COMPLETE": "bash_complete", "COMP_WORDS": "podstack ver", "COMP_CWORD": "1"}
    process = start(podstack, **environ)
    assert "versions" in process.communicate(timeout=30)[0]
    process = start(podstack, _PODSTACK_COMPLETE="bash_source")
    assert "complete" in process.communicate(timeout=30)[0]


def test_times_are_local_in_tables_and_utc_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert cell(datetime(2026, 1, 2, 20, 30, 1, tzinfo=UTC)) == "2026-01-03 05:30:01"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_rows_are_aligned_whatever_they_hold(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [SimpleNamespace(name="木", note="x" * 70), SimpleNamespace(name="e\u0301t", note="two\nlines\t!")]
    assert print_table(iter(rows), {"NAME": "name", "NOTE": "note"}) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["木    " + "x" * 59 + "…", "e\u0301t    two lines !"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (0, "0"),
        (1 / 3, "0.333333"),
        (["a", 1], "a, 1"),
        ({"k": None}, "k=-"),
    ],
)
def test_values_are_short_texts(value: Any, text: str) -> None:
    assert cell(value) == text


def test_sizes_are_readable() -> None:
    assert [size(n) for n in (0, 1023, 1536, 5 << 30, 3 << 50)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 GiB",
        "3072.0 TiB",
    ]


def test_no_option_of_a_command_hides_another() -> None:
    for words, command in commands(root):
        names = [name for parameter in command.params for name in parameter.opts + parameter.secondary_opts]
        assert len(names) == len(set(names)), words
        # Two options that share a parameter share its value, too.
        kept = [parameter.name for parameter in command.params]
        assert len(kept) == len(set(kept)), words


@pytest.mark.parametrize("noun", ["", *sorted(root.commands)])
def test_a_list_of_commands_cuts_no_sentence(noun: str) -> None:
    command = root.commands[noun] if noun else root
    text = command.get_help(click.Context(command, info_name=noun or "podstack", terminal_width=80))
    assert not [line for line in text.splitlines() if line.endswith("...") and "Usage" not in line]
