"""Objects of Python as files of a run: texts, dictionaries, figures, models."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from podstack.errors import ValidationError
from podstack.files import LocalFile, check_path
from podstack.values import plain

EXAMPLE = "input_example.json"
# How a model is saved that has no single way of its own, by the package that its class is of.
OTHER_WAYS = {
    "torch": 'torch.jit.script(model).save("model.pt")',
    "keras": 'model.save("model.keras"), beside a predictor.py',
    "tensorflow": 'model.save("model.keras"), beside a predictor.py',
    "transformers": 'model.save_pretrained("model")',
    "onnx": 'onnx.save(model, "model.onnx")',
}
SAVED_BY_ITSELF = {"xgboost": "model.ubj", "lightgbm": "model.txt"}


@contextmanager
def text_file(text: object, path: str) -> Iterator[list[LocalFile]]:
    """The text as the file `path`, for as long as the block lasts."""
    if not isinstance(text, str):
        raise ValidationError(f"text is of type {type(text).__name__}; it must be a text.")
    with _folder() as folder:
        target = folder / "text"
        target.write_bytes(text.encode("utf-8", "surrogatepass"))
        yield [LocalFile(target, check_path(path))]


@contextmanager
def json_file(value: object, path: str) -> Iterator[list[LocalFile]]:
    """The value as a JSON file; NaN and the infinities as texts."""
    try:
        written = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"The dictionary for {path} is no JSON: {error}.") from error
    with text_file(written + "\n", path) as files:
        yield files


@contextmanager
def figure_file(figure: Any, path: str) -> Iterator[list[LocalFile]]:
    """A figure of matplotlib, of plotly, or an image of PIL, in the format that the path ends with."""
    remote = check_path(path)
    with _folder() as folder:
        target = folder / PurePosixPath(remote).name
        for save in ("savefig", "save", "write_html" if target.suffix == ".html" else "write_image"):
            if callable(getattr(figure, save, None)):
                getattr(figure, save)(str(target))
                break
        else:
            raise ValidationError(
                f"figure is of type {type(figure).__name__}; it must be a figure of matplotlib or plotly, or an image.",
                hint="Save it as a file, and give that to log_artifact.",
            )
        yield [LocalFile(target, remote)]


@contextmanager
def model_files(model: Any, folder_name: str, input_example: Any) -> Iterator[list[LocalFile]]:
    """A model as its library saves it, below the folder of this name, with rows that it can be tried with."""
    remote = check_path(folder_name)
    with _folder() as folder:
        _save(model, folder)
        if input_example is not None:
            rows = plain(input_example)
            if not isinstance(rows, list):
                raise ValidationError("input_example must be a list of rows, an array or a table.")
            (folder / EXAMPLE).write_text(json.dumps({"instances": rows}), encoding="utf-8")
        yield [LocalFile(path, f"{remote}/{path.name}") for path in sorted(folder.iterdir())]


def _save(model: Any, folder: Path) -> None:
    libraries = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    own = next((SAVED_BY_ITSELF[name] for name in libraries if name in SAVED_BY_ITSELF), None)
    if own and not callable(getattr(model, "get_params", None)):
        model.save_model(str(folder / own))
        return
    other = next((OTHER_WAYS[name] for name in libraries if name in OTHER_WAYS), None)
    if other or not callable(getattr(model, "predict", getattr(model, "transform", None))):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise ValidationError(
            f"model is of type {kind}; log_model saves what scikit-learn, XGBoost and LightGBM make.",
            hint=f"Save it by {other or 'a way of its own'} and give the file to log_artifact.",
        )
    try:
        import joblib
    except ImportError as error:
        raise ValidationError("joblib is not installed, which saves this model.") from error
    joblib.dump(model, folder / "model.joblib")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="podstack-") as folder:
        yield Path(folder)
