"""Files that torch itself writes, where torch is installed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from serving.formats import detect
from serving.scan import run_limited, scan

torch: Any = pytest.importorskip("torch")


def _model() -> Any:
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten())


def _check(folder: Path, wanted: str) -> None:
    assert detect(folder).format == wanted
    assert run_limited(folder)["verdict"] == "clean"


@pytest.mark.parametrize("new", [True, False])
def test_a_state_dict_is_clean_in_both_formats(tmp_path: Path, new: bool) -> None:
    torch.save(_model().state_dict(), tmp_path / "model.pt", _use_new_zipfile_serialization=new)
    _check(tmp_path, "torch_state_dict")


def test_a_checkpoint_with_an_optimizer_is_clean(tmp_path: Path) -> None:
    model = _model()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(2, 1, 5, 5)).sum().backward()
    optimizer.step()
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path / "m.ckpt"
    )
    _check(tmp_path, "torch_state_dict")


def test_a_whole_model_of_torchs_own_layers_is_clean_but_not_served(tmp_path: Path) -> None:
    torch.save(_model(), tmp_path / "model.pt")
    _check(tmp_path, "torch_pickle")


def test_tensors_of_every_kind_are_clean() -> None:
    kinds = [
        torch.float16,
        torch.bfloat16,
        torch.int8,
        torch.bool,
        torch.complex64,
        torch.int64,
        torch.float64,
    ]
    buffer = io.BytesIO()
    torch.save([torch.zeros(3).to(kind) for kind in kinds] + [torch.nn.Parameter(torch.ones(2))], buffer)
    assert scan([("m.pt", lambda: io.BytesIO(buffer.getvalue()))]).verdict == "clean"


def test_torchscript_and_exported_programs_are_clean(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    torch.jit.script(_model().eval()).save(str(tmp_path / "a/model.pt"))
    _check(tmp_path / "a", "torchscript")
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(_model().eval(), (torch.zeros(2, 1, 5, 5),), dynamic_shapes=({0: batch},))
    torch.export.save(program, str(tmp_path / "b/model.pt2"))
    _check(tmp_path / "b", "torch_export")
