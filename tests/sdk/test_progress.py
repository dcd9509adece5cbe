"""Long uploads and downloads say how far they are, on a terminal and nowhere else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from podstack import MLOpsClient
from podstack.files import progress as progress_module
from podstack.files.progress import Progress
from tests.sdk.fake_server import FakeServer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SILENT_SECONDS", 0)
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN", 0)


def test_a_line_is_shown_and_cleared() -> None:
    terminal = Terminal()
    with Progress("Uploading", 3 << 30, stream=terminal) as progress:
        progress.add(1 << 30)
        progress.add(3 << 30)  # a part was sent twice
    first, second, last = terminal.getvalue().split(progress_module.CLEARED)[1:]
    assert first.startswith("Uploading 33% of 3.0 GiB, ") and first.endswith(" left")
    assert second.startswith("Uploading 100% of 3.0 GiB") and second.endswith(", 0:00 left")
    assert last == ""


def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    for stream, wanted, chosen in ((io.StringIO(), True, ""), (terminal, False, ""), (terminal, True, "0")):
        monkeypatch.setenv("PODSTACK_PROGRESS", chosen)
        with Progress("Uploading", 10, wanted, stream) as progress:
            progress.add(5)
        assert stream.getvalue() == ""
    gone = Terminal()
    gone.write = lambda text: (_ for _ in ()).throw(OSError("The terminal is gone."))  # type: ignore[method-assign]
    monkeypatch.delenv("PODSTACK_PROGRESS")
    with Progress("Uploading", 10, stream=gone) as progress:
        progress.add(5)


def test_what_goes_up_and_comes_down_is_counted(
    client: MLOpsClient, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    (tmp_path / "model").mkdir()
    for name, size in (("big.bin", 3 << 20), ("small", 10), ("other", 20)):
        (tmp_path / "model" / name).write_bytes(name.encode() + b"x" * (size - len(name)))
    with client.start_run("exp") as run:
        run.log_artifacts(tmp_path / "model")
    assert "Reading 100% of 3.0 MiB" in terminal.getvalue()
    assert "Uploading 100% of 3.0 MiB" in terminal.getvalue()
    server.hold("big.bin", b"y" * (2 << 20))
    client.download_model_version("m", 1, tmp_path / "down")
    assert "Downloading 100% of 2.0 MiB" in terminal.getvalue()
    assert terminal.getvalue().endswith(progress_module.CLEARED)
