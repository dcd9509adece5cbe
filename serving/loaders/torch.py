"""TorchScript modules and torch.export programs, where torch is installed, on a CUDA device where it sees one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from serving import devices
from serving import rows as _rows
from serving.formats import Detected
from serving.loaders import Tensor, Tensors
from serving.problems import CannotLoad, Problem
from serving.signature import Signature
from serving.values import DATATYPES, Array


def load(folder: Path, detected: Detected) -> TorchModel:
    """Load the module with one thread. Raises `CannotLoad` where torch is missing."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise CannotLoad(
            f"'{detected.main_path}' needs the package 'torch', which the serving environment lacks; install "
            "it there, or export the model to ONNX."
        ) from None
    torch.set_num_threads(1)
    path = str(folder / detected.main_path)
    if detected.format == "torch_export":
        module, device = devices.load_on(devices.of_torch(torch), lambda on: _exported(torch, path, on))
    else:
        module, device = devices.load_on(
            devices.of_torch(torch), lambda on: torch.jit.load(path, map_location=on)
        )
        module.eval()
    device.tell()
    platform = "pytorch_export" if detected.format == "torch_export" else "pytorch_torchscript"
    return TorchModel(torch, module, platform, device.name)


def _exported(torch: Any, path: str, device: str) -> Any:
    """A program that was exported on one device names it inside, so moving its weights alone is not enough."""
    program = torch.export.load(path)
    if device != devices.CPU:
        program = importlib.import_module("torch.export.passes").move_to_device_pass(program, device)
    return program.module()


class TorchModel:
    """A module of one or more tensor inputs; rows become one float32 tensor unless told otherwise."""

    signature: Signature | None = None
    example: list[Any] | None = None

    def __init__(self, torch: Any, module: Any, platform: str, device: str) -> None:
        self._torch, self._module, self.platform, self.device = torch, module, platform, device
        self._datatype = next((str(one.dtype).rpartition(".")[2] for one in self._floats()), "float32")
        self.inputs = [Tensor("input", "FP64" if self._datatype == "float64" else "FP32", [-1])]
        self.outputs = [Tensor("output", "FP32", [-1])]

    def _floats(self) -> list[Any]:
        return [one for one in self._module.parameters() if one.dtype.is_floating_point]

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """The module's (first) output; `parameters.datatype` (INT64, FP32, …) sets the input's type."""
        datatype = parameters.get("datatype")
        if datatype is not None and (datatype not in DATATYPES or datatype == "BYTES"):
            raise Problem(
                422, f"parameters.datatype {datatype!r} is unknown; send INT64 or FP32, for instance."
            )
        array = _rows.nested(rows, DATATYPES[datatype] if datatype else self._datatype)
        return next(iter(self._run([array]).values()))

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Tensors:
        """The module's outputs for the tensors in the order they were sent."""
        for name, array in tensors.items():
            if array.dtype == object:
                raise Problem(422, f"inputs '{name}' is BYTES; a torch module takes numbers.")
        return self._run(list(tensors.values()))

    def _run(self, arrays: list[Array]) -> Tensors:
        with self._torch.inference_mode():
            answer = self._module(*[self._torch.from_numpy(array).to(self.device) for array in arrays])
        if isinstance(answer, dict):
            return {str(name): value.cpu().numpy() for name, value in answer.items()}
        if isinstance(answer, (list, tuple)):
            return {f"output_{at}": value.cpu().numpy() for at, value in enumerate(answer)}
        return {"output": answer.cpu().numpy()}
