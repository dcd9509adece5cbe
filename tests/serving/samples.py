"""Small model files for the tests, made on the spot; torch files are made by hand, without torch."""

from __future__ import annotations

import functools
import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PREDICTOR = """
class Predictor:
    def load(self, path):
        self.path = path

    def predict(self, rows):
        return [sum(row) for row in rows]
"""


@functools.cache
def iris() -> Any:
    """A fitted pipeline on four columns, classes 0 to 2."""
    x, y = load_iris(return_X_y=True)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)


def folder(path: Path, **files: bytes | str) -> Path:
    """A folder with these files; '__' in a name stands for '.'."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (path / name.replace("__", ".")).write_bytes(data)
    return path


def joblib_bytes(value: Any, compress: Any = 0) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, compress=compress)
    return buffer.getvalue()


def zip_bytes(**members: bytes) -> bytes:
    """A zip; in member names '__' stands for '/' and '_dot_' for '.'."""
    return zip_of({name.replace("__", "/").replace("_dot_", "."): data for name, data in members.items()})


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def torch_state_dict() -> bytes:
    """What torch.save(model.state_dict()) writes: one float tensor named 'weight'."""
    data = b"".join(
        [
            b"\x80\x02ccollections\nOrderedDict\n)R(X\x06\x00\x00\x00weight",
            b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n",
            b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQK\x00K\x02\x85K\x01\x85\x89",
            b"ccollections\nOrderedDict\n)RtRu.",
        ]
    )
    pickletools.dis(data, out=io.StringIO())
    weights = np.array([1, 2], dtype="<f4").tobytes()
    return zip_of(
        {
            "model/data.pkl": data,
            "model/byteorder": b"little",
            "model/data/0": weights,
            "model/version": b"3\n",
        }
    )


def torchscript() -> bytes:
    """A zip with the members of a TorchScript file; detectable, not loadable."""
    data = b"\x80\x02c__torch__\nNet\n)\x81}b."
    members = {
        "data.pkl": data,
        "code/__torch__.py": b"class Net(Module):\n  pass\n",
        "constants.pkl": b"\x80\x02).",
        "version": b"3",
    }
    return zip_of({f"net/{name}": content for name, content in members.items()})


def onnx_bytes() -> bytes:
    """The iris pipeline as ONNX, labels and probabilities as tensors."""
    from skl2onnx import to_onnx

    return bytes(
        to_onnx(iris(), np.zeros((1, 4), dtype=np.float32), options={"zipmap": False}).SerializeToString()
    )


class Reduced:
    """Pickles as a call of `func` with `args`."""

    def __init__(self, func: Any, *args: Any) -> None:
        self.func, self.args = func, args

    def __reduce__(self) -> Any:
        return self.func, self.args


def calling(func: Any, *args: Any, protocol: int = 4) -> bytes:
    """A pickle that calls `func` when it is loaded."""
    return pickle.dumps(Reduced(func, *args), protocol)
