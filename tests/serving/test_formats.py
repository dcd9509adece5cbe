"""What a folder of model files is, told by content and without loading anything."""

from __future__ import annotations

import gzip
import io
import json
import pickle
from pathlib import Path

import pytest
import skops.io

from serving.formats import detect
from tests.serving import samples


def _one(name: str, data: bytes):  # type: ignore[no-untyped-def]
    return detect([(name, lambda: io.BytesIO(data))])


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_a_joblib_file_is_told_plain_and_compressed(compress: object) -> None:
    found = _one("model.joblib", samples.joblib_bytes(samples.iris(), compress))
    assert (found.format, found.framework, found.servable) == ("joblib", "scikit-learn", True)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_told_in_every_protocol(protocol: int) -> None:
    assert _one("model.pkl", pickle.dumps(samples.iris(), protocol)).format == "pickle"


def test_skops_onnx_and_torchscript_are_told_by_content_whatever_their_name() -> None:
    assert _one("a.bin", skops.io.dumps(samples.iris())).format == "skops"
    assert _one("b.bin", samples.onnx_bytes()).format == "onnx"
    assert _one("c.bin", samples.torchscript()).format == "torchscript"


def test_both_layouts_of_a_torch_export_program_are_told() -> None:
    new = samples.zip_of({"p/archive_format": b"pt2", "p/models/model.json": b"{}"})
    old = samples.zip_of({"serialized_exported_program.json": b"{}", "version": b"1"})
    assert _one("m.pt2", new).format == _one("m.pt2", old).format == "torch_export"


def test_a_bare_state_dict_cannot_be_served_and_the_sentence_says_what_to_do() -> None:
    found = _one("model.pt", samples.torch_state_dict())
    assert (found.format, found.servable) == ("torch_state_dict", False)
    assert found.reason.startswith(
        "'model.pt' holds only a torch state_dict, the weights without the model's code. "
        "Save the model with torch.jit.script(model).save(…), export it to ONNX, or put a "
        "predictor.py beside it. "
        "Formats that can be served: "
    )


def test_a_state_dict_in_torchs_old_format_is_told() -> None:
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    head = b"".join(pickle.dumps(part, 2) for part in parts)
    data = head + b"\x80\x02ccollections\nOrderedDict\n)R." + pickle.dumps([], 2)
    assert _one("model.pt", data).format == "torch_state_dict"


def test_a_state_dict_with_a_predictor_beside_it_is_served_by_the_predictor(tmp_path: Path) -> None:
    folder = samples.folder(
        tmp_path / "m", model__pt=samples.torch_state_dict(), predictor__py=samples.PREDICTOR
    )
    found = detect(folder)
    assert (found.format, found.main_path, found.servable) == ("predictor", "predictor.py", True)


def test_a_whole_pickled_torch_model_is_refused_by_the_name_of_its_class() -> None:
    data = b"\x80\x02c__main__\nNet\n)\x81}b."
    found = _one("net.pt", samples.zip_of({"net/data.pkl": data, "net/version": b"3"}))
    assert found.format == "torch_pickle" and "__main__.Net" in found.reason and not found.servable


def test_safetensors_and_unknown_files_are_refused_with_a_sentence() -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = _one("model.safetensors", len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
    assert weights.format == "safetensors" and not weights.servable and weights.reason.endswith(".")
    assert "'notes.txt'" in _one("notes.txt", b"hello").reason
    assert detect([]).reason.startswith("The version has no files.")


def test_a_pickle_of_something_else_is_refused() -> None:
    found = _one("data.pkl", pickle.dumps({"a": [1, 2]}))
    assert not found.servable and "not of a scikit-learn model" in found.reason


def test_the_model_is_found_among_other_files(tmp_path: Path) -> None:
    folder = samples.folder(
        tmp_path / "m",
        README__md="hi",
        metrics__json="{}",
        model__joblib=samples.joblib_bytes(samples.iris()),
    )
    assert detect(folder).main_path == "model.joblib"


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl", "model.skops", "model.pt", "model.onnx"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x04",
        b"PK\x03\x04",
        b"PK\x03\x04" + b"\0" * 300,
        b"\x1f\x8b\x08",
        b"x\x9c",
        b"BZh9",
        b"\x08",
        b"\x8a" * 50,
        b"\x80\x02\x8a\xff" + b"\1" * 10,
        gzip.compress(b"\0" * (4 << 20)),
        samples.zip_of({"schema.json": b'{"__loader__": '}),
        samples.torch_state_dict()[:-60],
    ],
)
def test_broken_files_give_a_sentence_and_never_an_exception(name: str, data: bytes) -> None:
    found = _one(name, data)
    assert found.servable or found.reason.endswith(".")


def test_every_truncation_of_a_model_gives_an_answer() -> None:
    for data in (
        samples.joblib_bytes(samples.iris(), 3),
        skops.io.dumps(samples.iris()),
        samples.onnx_bytes(),
    ):
        for end in range(0, len(data), max(1, len(data) // 60)):
            _one("model.bin", data[:end])
