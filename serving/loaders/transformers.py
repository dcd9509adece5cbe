"""Transformers models of config.json and safetensors weights, where the packages are installed, on a CUDA device where
torch sees one.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from serving import devices
from serving.formats import Detected
from serving.loaders import Tensor, Tensors
from serving.problems import CannotLoad, Problem
from serving.signature import Signature

# What an architecture is for, by the end of its name.
TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
}


def load(folder: Path, detected: Detected) -> TransformersModel:
    """Load the pipeline that the architecture is made for, from these files only."""
    home = (folder / detected.main_path).parent
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for package in ("torch", "transformers"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise CannotLoad(
                f"'{detected.main_path}' needs the package '{package}', which the serving environment lacks; name it "
                "in the version's requirements.txt, or export the model to ONNX."
            ) from None
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    architectures = json.loads((home / "config.json").read_text()).get("architectures") or [""]
    task = next((task for end, task in TASKS.items() if architectures[0].endswith(end)), "feature-extraction")
    make = importlib.import_module("transformers").pipeline
    pipeline, device = devices.load_on(
        devices.of_torch(torch),
        lambda on: make(
            task, model=str(home), device=-1 if on == devices.CPU else 0, trust_remote_code=False
        ),
    )
    device.tell()
    return TransformersModel(pipeline, task, device.name)


class TransformersModel:
    """A pipeline of texts."""

    signature: Signature | None = None
    example: list[Any] | None = None

    def __init__(self, pipeline: Any, task: str, device: str) -> None:
        self._pipeline, self.device = pipeline, device
        self.platform = f"transformers_{task}"
        self.inputs = [Tensor("instances", "BYTES", [-1])]
        self.outputs = [Tensor("predictions", "BYTES", [-1])]

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """What the pipeline says of each text; `parameters` are the pipeline's own."""
        for at, row in enumerate(rows, 1):
            if not isinstance(row, str):
                raise Problem(422, f"Row {at} of 'instances' is no text; the model takes texts.")
        return self._pipeline(rows, **parameters)

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Tensors:
        """One tensor of texts; the answers come as JSON texts."""
        said = self.predict_rows([str(one) for one in next(iter(tensors.values())).ravel()], parameters)
        return {"predictions": np.array([json.dumps(one, default=str) for one in said], dtype=object)}
