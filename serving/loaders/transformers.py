"""Transformers models of config.json and safetensors weights, where the packages are installed, on a CUDA device where
torch sees one.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serving import devices
from serving.formats import Detected
from serving.loaders import Tensor, Tensors, one_line
from serving.problems import CannotLoad, Problem
from serving.signature import Signature
from serving.values import encode

FILL_MASK, TEXT_TO_TEXT = "fill-mask", "text2text-generation"
# What an architecture is for, by the end of its name.
TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": FILL_MASK,
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": TEXT_TO_TEXT,
    "Model": "feature-extraction",
}
VOCABULARIES = ("tokenizer*", "vocab.*", "spiece.model", "sentencepiece.bpe.model", "*.spm")
# With these, generating would run code that a request names.
NEVER_ASKED = ("custom_generate", "trust_remote_code")


def load(folder: Path, detected: Detected) -> TransformersModel:
    """Load the pipeline that the architecture is made for, from these files only."""
    home = (folder / detected.main_path).parent
    task = _task_of(home)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for package in ("torch", "transformers"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise CannotLoad(
                f"'{detected.main_path}' needs the package '{package}', which the serving environment lacks; name it "
                "in the version's requirements.txt, or export the model to ONNX."
            ) from None
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    make = _TextToText if task == TEXT_TO_TEXT else _pipeline
    pipeline, device = devices.load_on(
        devices.of_torch(torch), lambda on: make(transformers, task, str(home), on)
    )
    device.tell()
    return TransformersModel(pipeline, task, device.name)


def _task_of(home: Path) -> str:
    """What the model is for; CannotLoad for one that takes no texts, or would be asked in words that it does not know."""
    named = json.loads((home / "config.json").read_text()).get("architectures") or ["Model"]
    task = next((task for end, task in TASKS.items() if str(named[0]).endswith(end)), None)
    if task is None:
        known = ", ".join(end for end in TASKS if end.startswith("For"))
        raise CannotLoad(
            f"config.json names the architecture {named[0]}, which is not served by itself (those that end with {known} "
            "are); put a predictor.py beside it."
        )
    if not any(found for pattern in VOCABULARIES for found in home.glob(pattern)):
        raise CannotLoad(
            "The model has no tokenizer beside it; save it into the same folder with tokenizer.save_pretrained."
        )
    return task


def _pipeline(transformers: Any, task: str, home: str, device: str) -> Any:
    number = -1 if device == devices.CPU else 0
    return transformers.pipeline(task, model=home, device=number, trust_remote_code=False)


class _TextToText:
    """Texts from texts, as the pipeline of this name did before transformers 5."""

    def __init__(self, transformers: Any, task: str, home: str, device: str) -> None:
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(home)
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(home, trust_remote_code=False)
        self._model = model.to(device).eval()

    def __call__(self, texts: list[str], **parameters: Any) -> list[Any]:
        words = self._tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
        asked = {name: words[name].to(self._model.device) for name in ("input_ids", "attention_mask")}
        made = self._tokenizer.batch_decode(
            self._model.generate(**asked, **parameters), skip_special_tokens=True
        )
        said, each = [{"generated_text": text} for text in made], len(made) // len(texts)
        return said if each == 1 else [said[at : at + each] for at in range(0, len(said), each)]


class TransformersModel:
    """A pipeline of texts."""

    signature: Signature | None = None
    example: list[Any] | None = None

    def __init__(self, pipeline: Any, task: str, device: str) -> None:
        self._pipeline, self._task, self.device = pipeline, task, device
        self.platform = f"transformers_{task}"
        self.inputs = [Tensor("instances", "BYTES", [-1])]
        self.outputs = [Tensor("predictions", "BYTES", [-1])]

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """What the pipeline says of each text; `parameters` are the pipeline's own."""
        for at, row in enumerate(rows, 1):
            if not isinstance(row, str):
                raise Problem(422, f"Row {at} of 'instances' is no text; the model takes texts.")
        for name in NEVER_ASKED:
            if name in parameters:
                raise Problem(422, f"parameters.{name} cannot be asked for.")
        try:
            said = self._pipeline(rows, **parameters)
        except Exception as error:
            if not _is_the_callers(error, parameters):
                raise
            raise Problem(422, f"The model does not take this request: {one_line(error)}.") from error
        # For one text, this pipeline alone answers with what belongs to it instead of a list of that.
        return [said] if self._task == FILL_MASK and len(rows) == 1 else said

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Tensors:
        """One tensor of texts; the answers come as JSON texts."""
        said = self.predict_rows([str(one) for one in next(iter(tensors.values())).ravel()], parameters)
        return {"predictions": np.array([encode(one).decode() for one in said], dtype=object)}


def _is_the_callers(error: Exception, parameters: Mapping[str, Any]) -> bool:
    """Whether texts or parameters were at fault: a text without a mask, a parameter that does not exist."""
    return type(error).__name__ == "PipelineException" or (
        bool(parameters) and isinstance(error, (ValueError, TypeError))
    )
