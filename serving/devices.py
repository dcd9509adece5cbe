"""On what a model runs: a CUDA device where one is visible and its library can use it, else the CPU, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

CPU, CUDA = "cpu", "cuda"
CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Device:
    """`name` is cpu or cuda; `reason` says why it is the CPU."""

    name: str
    reason: str = ""

    def tell(self) -> None:
        """Into the process's log: nobody should have to guess."""
        print(f"The model runs on {self.name}{f': {self.reason}' if self.reason else '.'}", flush=True)


def of_torch(torch: Any) -> Device:
    """What torch sees."""
    try:
        return Device(CUDA) if torch.cuda.is_available() else Device(CPU, "torch sees no CUDA device.")
    except Exception as error:
        return Device(CPU, f"torch could not look for a CUDA device ({_short(error)}).")


def load_on(device: Device, load: Callable[[str], Loaded]) -> tuple[Loaded, Device]:
    """What `load` makes on the device; on the CPU where the device cannot hold it."""
    if device.name == CPU:
        return load(CPU), device
    try:
        return load(device.name), device
    except Exception as error:
        return load(CPU), Device(CPU, f"it could not be loaded on {device.name} ({_short(error)}).")


def providers_of(onnxruntime: Any) -> list[str]:
    """The execution providers to ask for, best first."""
    has = onnxruntime.get_available_providers()
    return [each for each in (CUDA_PROVIDER, CPU_PROVIDER) if each in has or each == CPU_PROVIDER]


def of_session(session: Any, asked: list[str]) -> Device:
    """Where an ONNX session runs: the runtime itself takes the CPU where CUDA does not start."""
    if CUDA_PROVIDER in session.get_providers():
        return Device(CUDA)
    if CUDA_PROVIDER in asked:
        return Device(CPU, "onnxruntime could not start its CUDA provider; no CUDA device may be there.")
    return Device(CPU, "the installed onnxruntime has no CUDA provider.")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
