"""On what a model runs: told machines, with and without a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving import devices
from serving.devices import CPU_PROVIDER, CUDA_PROVIDER, Device
from serving.loaders import load
from serving.service import usual_memory
from tests.serving import samples


@dataclass
class Cuda:
    """What a torch on some machine says of it."""

    there: bool
    broken: bool = False

    def is_available(self) -> bool:
        if self.broken:
            raise RuntimeError("the driver is too old")
        return self.there


@dataclass
class Torch:
    cuda: Cuda


@dataclass
class Runtime:
    """An onnxruntime with these providers, of which a session starts some."""

    has: Sequence[str]
    starts: Sequence[str] = (CPU_PROVIDER,)

    def get_available_providers(self) -> list[str]:
        return list(self.has)

    def get_providers(self) -> list[str]:
        return list(self.starts)


def test_torch_runs_on_a_cuda_device_that_it_sees_and_says_why_it_does_not() -> None:
    assert devices.of_torch(Torch(Cuda(there=True))) == Device("cuda")
    assert devices.of_torch(Torch(Cuda(there=False))) == Device("cpu", "torch sees no CUDA device.")
    assert "the driver is too old" in devices.of_torch(Torch(Cuda(there=True, broken=True))).reason


def test_onnx_asks_for_cuda_where_the_runtime_has_it_and_believes_only_the_session() -> None:
    both = Runtime(has=(CPU_PROVIDER, CUDA_PROVIDER), starts=(CUDA_PROVIDER, CPU_PROVIDER))
    asked = devices.providers_of(both)
    assert asked == [CUDA_PROVIDER, CPU_PROVIDER] and devices.of_session(both, asked) == Device("cuda")
    refused = Runtime(has=(CPU_PROVIDER, CUDA_PROVIDER))
    assert "could not start" in devices.of_session(refused, devices.providers_of(refused)).reason
    plain = Runtime(has=("AzureExecutionProvider", CPU_PROVIDER))
    assert devices.providers_of(plain) == [CPU_PROVIDER]
    assert devices.of_session(plain, [CPU_PROVIDER]).name == "cpu"


def test_a_model_that_the_device_cannot_hold_is_loaded_on_the_cpu_and_its_log_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def load_it(on: str) -> str:
        if on == "cuda":
            raise MemoryError("out of memory on the device")
        return f"loaded on {on}"

    found, device = devices.load_on(Device("cuda"), load_it)
    device.tell()
    assert found == "loaded on cpu"
    assert "The model runs on cpu: it could not be loaded on cuda" in capsys.readouterr().out
    assert devices.load_on(Device("cuda"), lambda on: on) == ("cuda", Device("cuda"))


def test_a_loaded_model_says_what_it_runs_on(tmp_path: Path) -> None:
    folder = samples.folder(tmp_path / "m", model__joblib=samples.joblib_bytes(samples.iris()))
    assert load(folder)[0].device == "cpu"


def test_a_serving_process_beside_a_gpu_may_reserve_the_addresses_that_cuda_needs(tmp_path: Path) -> None:
    assert usual_memory(tmp_path / "none") > 0
    (tmp_path / "nvidiactl").touch()
    assert usual_memory(tmp_path / "nvidiactl") == 0
