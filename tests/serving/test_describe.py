"""What a model's files hold, read from their headers; hostile headers give notes and nothing worse."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.describe import describe


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def part(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def value_info(name: str, dtype: int, *shape: int | str) -> bytes:
    sizes = [part(1, part(1, each) if isinstance(each, int) else part(2, each.encode())) for each in shape]
    tensor = part(1, dtype) + part(2, b"".join(sizes))
    return part(1, name.encode()) + part(2, part(1, tensor))


def onnx_model() -> bytes:
    weights = part(1, varint(3) + varint(2)) + part(2, 1) + part(8, b"w") + part(9, bytes(24))
    graph = part(2, b"g") + part(5, weights)
    graph += part(11, value_info("x", 1, "batch", 3)) + part(11, value_info("w", 1, 3, 2))
    graph += part(12, value_info("y", 1, "batch", 2))
    return part(1, 8) + part(7, graph) + part(8, part(2, 17))


def described(folder: Path, **files: bytes) -> dict[str, Any]:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return describe(folder)


def test_the_tensors_of_safetensors_are_listed_and_counted(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "a.bias": {"dtype": "F16", "shape": [3], "data_offsets": [24, 30]},
    }
    found = described(tmp_path, model__safetensors=safetensors(header, bytes(30)))
    assert (found["parameters"], found["tensor_bytes"], found["notes"]) == (9, 30, [])
    assert found["tensors"][0] == {"name": "a.weight", "dtype": "F32", "shape": [2, 3]}
    assert found["files"][0]["path"] == "model.safetensors"
    assert found["files"][0]["size"] == 38 + len(json.dumps(header))


def test_the_signature_of_an_onnx_graph_names_inputs_and_outputs_but_no_weights(tmp_path: Path) -> None:
    found = described(tmp_path, model__onnx=onnx_model())
    assert found["notes"] == []
    assert found["signature"] == {
        "inputs": [{"name": "x", "dtype": "FP32", "shape": ["batch", 3]}],
        "outputs": [{"name": "y", "dtype": "FP32", "shape": ["batch", 2]}],
    }
    assert (found["parameters"], found["tensor_bytes"]) == (6, 24)


def test_a_numpy_array_and_an_mlflow_signature(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros((4, 5), dtype="f4"))
    (tmp_path / "MLmodel").write_text(
        'signature:\n  inputs: \'[{"name": "age", "type": "double"}]\'\n'
        '  outputs: \'[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]\'\n'
    )
    found = describe(tmp_path)
    assert found["tensors"] == [{"name": "w.npy", "dtype": "<f4", "shape": [4, 5]}]
    assert found["tensor_bytes"] == 80
    assert found["signature"] == {
        "inputs": [{"name": "age", "dtype": "FP64", "shape": None}],
        "outputs": [{"name": "column 0", "dtype": "float32", "shape": [None, 2]}],
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a__safetensors", b""),
        ("a__safetensors", struct.pack("<Q", 2**63) + b"{}"),
        ("a__safetensors", safetensors(b"[" * 100_000)),
        ("a__safetensors", safetensors([])),
        (
            "a__safetensors",
            safetensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        ),
        (
            "a__safetensors",
            safetensors({"a": {"dtype": "F32", "shape": [2**60] * 40, "data_offsets": [0, 0]}}),
        ),
        ("a__safetensors", safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}})),
        ("a__safetensors", safetensors({"a": None})),
        ("a__safetensors", safetensors(b'{"a": {"dtype": NaN, "shape": [NaN], "data_offsets": [0, 0]}}')),
        ("a__onnx", b""),
        ("a__onnx", b"\xff" * 50),
        ("a__onnx", part(7, b"\x5a\xff\xff\xff\xff\x7f")),
        ("a__onnx", part(1, 8)),
        ("a__npy", b"\x93NUMPY\x01\x00\xff\xff"),
        ("a__npy", b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').system('x')".ljust(32)),
        ("MLmodel", b"signature: {inputs: '[[[[', outputs: 3}"),
        ("MLmodel", b"!!python/object/apply:os.system ['x']"),
    ],
)
def test_a_hostile_header_gives_a_note(tmp_path: Path, name: str, content: bytes) -> None:
    found = described(tmp_path, **{name: content})
    assert len(found["notes"]) == 1 or name == "MLmodel"
    assert found["tensors"] == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_is_survived(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    for name, whole in (("m.onnx", onnx_model()), ("m.safetensors", safetensors(header, bytes(24)))):
        content = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        (folder / name).write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    json.dumps(describe(folder), allow_nan=False)
