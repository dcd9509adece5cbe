"""Packages from a version's own requirements.txt, really installed, from a folder of wheels made here."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving import environments
from serving.environments import CannotInstall, Environment, Environments, last_sentence, requirements_of


def wheel(folder: Path, name: str = "tinypack", version: str = "1.0", **modules: str) -> None:
    """A wheel of one module, whose VALUE is its version."""
    folder.mkdir(exist_ok=True)
    about = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": f"VALUE = {version!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in members.items():
            archive.writestr(path, text)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels is all that the installers know."""
    folder = tmp_path / "wheels"
    wheel(folder)
    for name, value in {"FIND_LINKS": str(folder), "NO_INDEX": "1"}.items():
        monkeypatch.setenv(f"UV_{name}", value)
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("SECRET_KEY", "secret")
    return folder


def asked(path: Path, text: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "requirements.txt").write_text(text)
    return path / "requirements.txt"


def built(all_of_them: Environments, path: Path) -> Environment:
    one = all_of_them.of(path)
    assert one.done.wait(120)
    return one


def run(one: Environment, code: str) -> str:
    return subprocess.run([one.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_packages_are_installed_before_those_of_the_platform(tmp_path: Path, index: Path) -> None:
    one = built(
        Environments(tmp_path / "e", 100, 100), asked(tmp_path / "m", "# ours\ntinypack==1.0  # pinned\n")
    )
    assert one.reason == ""
    assert run(one, "import tinypack, numpy; print(tinypack.VALUE)") == "1.0"


def test_packages_are_compiled_once_and_not_at_each_start(tmp_path: Path, index: Path) -> None:
    one = built(Environments(tmp_path / "e", 100, 100), asked(tmp_path / "m", "tinypack"))
    assert len(list(one.folder.rglob("__pycache__/tinypack.*.pyc"))) == 1


def test_two_at_once_build_once_and_the_next_engine_builds_nothing(tmp_path: Path, index: Path) -> None:
    all_of_them, path = Environments(tmp_path / "e", 100, 100), asked(tmp_path / "m", "tinypack")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: all_of_them.of(path), range(4)))
    assert len({id(one) for one in found}) == 1 and found[0].done.wait(120) and not found[0].reason
    again = Environments(tmp_path / "e", 100, 100).of(path)
    assert again.done.is_set() and again.folder == found[0].folder


def test_what_cannot_be_had_is_told_in_the_installers_last_words(tmp_path: Path, index: Path) -> None:
    all_of_them, path = Environments(tmp_path / "e", 100, 100), asked(tmp_path / "m", "tinypack==9.9")
    one = built(all_of_them, path)
    assert one.reason.startswith("The packages of requirements.txt could not be installed: ")
    assert "tinypack" in one.reason and one.reason.endswith(".") and not one.folder.exists()
    assert "tinypack" in one.log.read_text()
    wheel(index, version="9.9")
    assert built(all_of_them, path).reason == ""  # asked again, it is tried again


@pytest.mark.parametrize(
    "line",
    [
        "--index-url elsewhere",
        "-e .",
        "-r /etc/passwd",
        "./here.whl",
        "tinypack @ https://example.org/tinypack.whl",
        "git+https://example.org/x.git",
        "tinypack==1.0 --config-settings=x",
        "/etc/passwd",
    ],
)
def test_anything_but_names_with_versions_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(CannotInstall, match=r"in line 2; only names of packages with versions are taken"):
        requirements_of(asked(tmp_path, f"numpy\n{line}\n"))


def test_nothing_of_the_installers_environment_comes_into_the_list(tmp_path: Path) -> None:
    line = 'nothing==1.0; platform_version == "${PIP_INDEX_URL}"'
    with pytest.raises(CannotInstall, match=r"in line 2; a line may hold no \$: write the value itself\."):
        requirements_of(asked(tmp_path, f"numpy  # costs $0\n{line}\n"))


def test_hashes_and_markers_pass(tmp_path: Path) -> None:
    text = f'tinypack[x]>=1,<2 ; python_version >= "3.11" \\\n    --hash=sha256:{"0" * 64}\n'
    assert len(requirements_of(asked(tmp_path, text))) == 1


def test_the_installer_knows_no_secret_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1/simple")
    found = environments.installer_environment(os.environ)
    assert "DATABASE_URL" not in found and found["PIP_INDEX_URL"] == "http://127.0.0.1/simple"


def test_an_installer_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "uv").write_text("#!/bin/sh\nsleep 60\n")
    (slow / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}{os.pathsep}{os.environ['PATH']}")
    one = built(Environments(tmp_path / "e", 8, 100), asked(tmp_path / "m", "tinypack"))
    assert one.reason == "The packages of requirements.txt were not installed within 8 seconds."


def test_what_nobody_uses_is_removed(tmp_path: Path, index: Path) -> None:
    used = built(Environments(tmp_path / "e", 100, 0), asked(tmp_path / "m", "tinypack"))
    unused = built(Environments(tmp_path / "e", 100, 0), asked(tmp_path / "n", "tinypack==1.0"))
    Environments(tmp_path / "e", 100, 0).sweep({used.folder})
    assert used.folder.exists() and not unused.folder.exists()


def test_what_one_engine_uses_no_other_removes(tmp_path: Path, index: Path) -> None:
    ours, theirs = (Environments(tmp_path / "e", 100, 2) for _ in range(2))
    used = built(ours, asked(tmp_path / "m", "tinypack"))
    end = time.monotonic() + 4
    while time.monotonic() < end:
        ours.sweep({used.folder})
        theirs.sweep(set())
        time.sleep(0.1)
    assert (used.folder / environments.READY).exists()
    time.sleep(2.1)
    theirs.sweep(set())
    assert not used.folder.exists()


def test_what_is_begun_to_be_used_while_another_engine_removes_it_is_built_anew(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs, path = (
        Environments(tmp_path / "e", 100, 100),
        Environments(tmp_path / "e", 100, 0),
        asked(tmp_path / "m", "tinypack"),
    )
    old, found, remove = built(theirs, path), [], shutil.rmtree

    def slowly(folder: Path, **how: Any) -> None:
        monkeypatch.setattr(shutil, "rmtree", remove)
        found.append(ours.of(path))
        remove(folder, **how)

    monkeypatch.setattr(shutil, "rmtree", slowly)
    theirs.sweep(set())
    assert found[0].done.wait(60) and found[0].reason == ""
    assert (old.folder / "bin" / "python").exists()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Collecting x\nERROR: No matching distribution found for x==9\n[notice] upgrade\n",
            "No matching distribution found for x==9.",
        ),
        (
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because x was not found in the\n"
            "      package registry and you require x, it is unsatisfiable.\n\n      hint: look\n",
            "Because x was not found in the package registry and you require x, it is unsatisfiable.",
        ),
        ("", "the installer ended without a word."),
    ],
)
def test_the_last_words_are_found(said: str, told: str) -> None:
    assert last_sentence(said) == told
