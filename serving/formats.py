"""Say by content, and without ever loading anything, what a folder of model files is."""

from __future__ import annotations

import contextlib
import io
import json
import pickletools
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import BinaryIO

from serving import mlmodel
from serving.files import ModelFile, Reader, Source, Unreadable, files_of, seekable
from serving.sniff import BROKEN, COMPRESSED, HEAD, TORCH_MAGIC, kind_of, open_zip, unpacked

SERVED = (
    "skops, joblib or pickle of scikit-learn, XGBoost, LightGBM, ONNX, TorchScript, torch.export, a transformers or "
    "an MLflow folder, or a predictor.py"
)
PEEK = 256 << 10
PACKED_PEEK = 2 << 20
SK_FAMILY = {"sklearn": "scikit-learn", "xgboost": "xgboost", "lightgbm": "lightgbm"}
TORCH_WAY_OUT = (
    "Save the model with torch.jit.script(model).save(…), export it to ONNX, or put a predictor.py "
    f"beside it. Formats that can be served: {SERVED}."
)
_RANK = [
    "predictor",
    "mlflow",
    "skops",
    "joblib",
    "pickle",
    "xgboost",
    "lightgbm",
    "onnx",
    "torchscript",
    "torch_export",
    "torch_state_dict",
    "torch_pickle",
    "transformers",
    "safetensors",
    "keras",
    "pickle_other",
    "damaged",
]


@dataclass(frozen=True)
class Detected:
    """What a model's files are.

    `format` is one of predictor, mlflow, skops, joblib, pickle, xgboost, lightgbm, onnx, torchscript, torch_export,
    transformers (servable) and
    torch_state_dict, torch_pickle, safetensors, keras, pickle_other, damaged, unknown, empty (not
    servable, `reason` says in one or two sentences why and what to do). `main_path` is the file to load.
    """

    format: str
    framework: str
    main_path: str
    servable: bool
    reason: str

    def as_dict(self) -> dict[str, str | bool]:
        """The fields as JSON-ready values."""
        return asdict(self)


def detect(source: Source) -> Detected:
    """Detect the format of a folder, a file, or an iterable of (relative path, open) pairs.

    Reads at most 2 MiB of each file, a zip's listing aside, and never raises for what a file holds.
    """
    files = files_of(source)
    if not files:
        return Detected(
            "empty", "", "", False, f"The version has no files. Formats that can be served: {SERVED}."
        )
    root = _common_root(one.path for one in files)
    for one in files:
        if one.path == f"{root}predictor.py" and not one.problem:
            return Detected("predictor", "python", one.path, True, "")
    for one in files:
        if one.path == f"{root}MLmodel" and not one.problem:
            return _detect_mlflow(files, one)
    found = [detected for one in files if (detected := _detect_file(one))]
    found = [_with_config(detected, files) for detected in found]
    if not found:
        return Detected("unknown", "", "", False, _unknown_reason(files))
    return min(found, key=lambda one: (_RANK.index(one.format), *_prominence(one.main_path)))


def _common_root(paths: Iterable[str]) -> str:
    tops = {path.split("/", 1)[0] if "/" in path else "" for path in paths}
    top = tops.pop()
    return "" if tops or not top else f"{top}/"


def _detect_mlflow(files: list[ModelFile], one: ModelFile) -> Detected:
    try:
        with one.open() as stream:
            about = mlmodel.read(stream.read(mlmodel.LARGEST + 1))
    except Unreadable as error:
        return _not_served("damaged", "", one, f"'{one.path}' {error}. Upload it again, complete.")
    inner = inside_mlflow(files, one.path, about)
    if inner is None and not about.loader_module:
        return _not_served(
            "unknown", "", one, f"'{one.path}' names no flavor. Formats that can be served: {SERVED}."
        )
    return _served("mlflow", inner.framework if inner else "mlflow", one)


def inside_mlflow(files: list[ModelFile], path: str, about: mlmodel.MLmodel) -> Detected | None:
    """What an MLflow folder holds that is loaded without MLflow; None when only MLflow can load it."""
    home = path.removesuffix("MLmodel")
    for named in about.files.values():
        whole = f"{home}{named}".rstrip("/")
        inside = [one for one in files if one.path == whole or one.path.startswith(f"{whole}/")]
        found = [detected for one in inside if (detected := _detect_file(one)) and detected.servable]
        if found:
            return min(found, key=lambda one: (_RANK.index(one.format), *_prominence(one.main_path)))
    return None


def _with_config(found: Detected, files: list[ModelFile]) -> Detected:
    """Weights with the config.json that transformers writes beside them are a whole model."""
    home = found.main_path.rpartition("/")[0]
    config = next((one for one in files if one.path == f"{home}/config.json".lstrip("/")), None)
    if found.format != "safetensors" or config is None or config.problem:
        return found
    with config.open() as stream:
        head = stream.read(PEEK)
    if b'"model_type"' not in head and b'"architectures"' not in head:
        return found
    return Detected("transformers", "transformers", found.main_path, True, "")


def _prominence(path: str) -> tuple[int, bool, str]:
    name = path.rsplit("/", 1)[-1]
    return path.count("/"), not name.startswith("model"), path


def _unknown_reason(files: list[ModelFile]) -> str:
    names = ", ".join(f"'{one.path}'" for one in files[:3]) + (" …" if len(files) > 3 else "")
    return f"None of the files ({names}) is a model that can be served. Formats that can be served: {SERVED}."


def _detect_file(one: ModelFile) -> Detected | None:
    if one.problem:
        return None
    try:
        with one.open() as stream:
            return _detect_stream(one, stream)
    except Unreadable as error:
        return _not_served("damaged", "", one, f"'{one.path}' {error}. Upload it again, complete.")
    except (*BROKEN, MemoryError, RecursionError, KeyError, IndexError, OverflowError):
        return _not_served("damaged", "", one, f"'{one.path}' is damaged. Upload it again, complete.")


def _detect_stream(one: ModelFile, stream: BinaryIO) -> Detected | None:
    reader = Reader(stream)
    head = reader.peek(HEAD)
    kind = kind_of(head)
    if kind == "zip":
        return _detect_zip(one, stream, head)
    if kind in COMPRESSED:
        return _detect_compressed(one, reader.read_up_to(PACKED_PEEK), kind)
    if kind == "pickle" or (kind == "" and one.suffix in {".pkl", ".pickle", ".joblib", ".sav"}):
        return _detect_pickle(one, reader.read_up_to(PEEK), compressed=False)
    if kind == "onnx":
        return _served("onnx", "onnx", one)
    if kind in ("xgboost", "lightgbm"):
        return _served(kind, kind, one)
    if kind == "safetensors":
        return _not_served("safetensors", "", one, _safetensors_reason(one))
    if kind == "hdf5" or one.suffix == ".keras":
        return _not_served("keras", "keras", one, _foreign_reason(one, "a Keras or HDF5 file"))
    if one.suffix in {".onnx", ".skops", ".pt", ".pth"}:
        raise Unreadable(f"is not what its name says: it does not begin as a {one.suffix} file does")
    return None


def _served(kind: str, framework: str, one: ModelFile) -> Detected:
    return Detected(kind, framework, one.path, True, "")


def _not_served(kind: str, framework: str, one: ModelFile, reason: str) -> Detected:
    return Detected(kind, framework, one.path, False, reason)


def _safetensors_reason(one: ModelFile) -> str:
    return (
        f"'{one.path}' holds only weights (safetensors), without the model's code. Export the model "
        f"to ONNX or TorchScript, or put a predictor.py beside it. Formats that can be served: {SERVED}."
    )


def _foreign_reason(one: ModelFile, what: str) -> str:
    return (
        f"'{one.path}' is {what}, which cannot be served. Export the model to ONNX, or put a "
        f"predictor.py beside it. Formats that can be served: {SERVED}."
    )


def _detect_compressed(one: ModelFile, packed: bytes, kind: str) -> Detected | None:
    inner = Reader(unpacked(io.BytesIO(packed), kind))
    data = b""
    try:
        while len(data) < PEEK and (more := inner.read_up_to(512)):
            data += more
    except (*BROKEN, Unreadable):
        pass  # only the first part was unpacked, so its end is no end
    if kind_of(data) == "pickle":
        return _detect_pickle(one, data, compressed=True)
    if one.suffix in {".joblib", ".pkl", ".pickle"}:
        raise Unreadable("is compressed, but what is inside is no pickle")
    return None


def _detect_pickle(one: ModelFile, data: bytes, *, compressed: bool) -> Detected:
    if TORCH_MAGIC in data[:32]:
        return _torch_saved(one, _peek_names(data[data.index(TORCH_MAGIC) + len(TORCH_MAGIC) :], pickles=3))
    names = _peek_names(data)
    for module, _ in names:
        family = SK_FAMILY.get(module.split(".", 1)[0])
        if family:
            joblib = compressed or ("joblib.numpy_pickle", "NumpyArrayWrapper") in names
            return _served("joblib" if joblib else "pickle", family, one)
    if not names and kind_of(data) != "pickle":
        raise Unreadable("is not a pickle, though its name says so")
    return _not_served(
        "pickle_other",
        "",
        one,
        f"'{one.path}' is a pickle, but not of a scikit-learn model. Save the fitted estimator itself with "
        f"skops or joblib, or put a predictor.py beside it. Formats that can be served: {SERVED}.",
    )


def _peek_names(data: bytes, pickles: int = 1) -> list[tuple[str, str]]:
    """Names that the first opcodes import, as far as they can be told without following the stack."""
    names: list[tuple[str, str]] = []
    stream = io.BytesIO(data)
    # cut off or no pickle: what was seen so far is the answer
    with contextlib.suppress(Exception):
        for _ in range(pickles):
            _peek_one(stream, names)
    return names


def _peek_one(stream: io.BytesIO, names: list[tuple[str, str]]) -> None:
    strings: list[str] = []
    for opcode, argument, _position in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST") and isinstance(argument, str):
            module, _, name = argument.partition(" ")
            names.append((module, name))
        elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
            names.append((strings[-2], strings[-1]))
        elif "UNICODE" in opcode.name and isinstance(argument, str):
            strings.append(argument)
        if len(names) > 64:
            return


def _detect_zip(one: ModelFile, stream: BinaryIO, head: bytes) -> Detected | None:
    whole = seekable(stream)
    if whole is None:
        raise Unreadable("cannot be read from where it is stored")
    archive = open_zip(whole)
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if "schema.json" in names:
        return _detect_skops(one, archive)
    roots = {name.split("/", 1)[0] for name in names if "/" in name}
    for root in roots:
        if f"{root}/constants.pkl" in names and any(name.startswith(f"{root}/code/") for name in names):
            return _served("torchscript", "torch", one)
    if _is_export(names, roots):
        return _served("torch_export", "torch", one)
    for root in roots:
        if f"{root}/data.pkl" in names:
            with archive.open(f"{root}/data.pkl") as member:
                return _torch_saved(one, _peek_names(member.read(PEEK)))
    if one.suffix in {".pt", ".pth", ".skops"}:
        raise Unreadable("is a zip file, but none that torch or skops writes")
    if one.suffix == ".keras":
        return _not_served("keras", "keras", one, _foreign_reason(one, "a Keras file"))
    return None


def _is_export(names: list[str], roots: set[str]) -> bool:
    if "serialized_exported_program.json" in names:
        return True
    wanted = ("archive_format", "models/model.json")
    return any(all(f"{root}{part}" in names for part in wanted) for root in ["", *(f"{r}/" for r in roots)])


def _detect_skops(one: ModelFile, archive: zipfile.ZipFile) -> Detected | None:
    if archive.getinfo("schema.json").file_size > 256 << 20:
        raise Unreadable("has a schema.json that is too large")
    try:
        with archive.open("schema.json") as member:
            text = member.read(PEEK).decode("utf-8", "replace")
    except BROKEN:
        raise Unreadable("is a damaged zip file") from None
    if '"__loader__"' not in text:
        return None
    for root, family in SK_FAMILY.items():
        if f'"{root}.' in text:
            return _served("skops", family, one)
    return _served("skops", "scikit-learn", one)


def _torch_saved(one: ModelFile, names: list[tuple[str, str]]) -> Detected:
    plain = ("collections", "torch._utils", "torch", "torch.storage", "numpy", "builtins", "_codecs")
    model = next((f"{m}.{n}" for m, n in names if m not in plain and not m.startswith("numpy.")), None)
    if model is None:
        what = "holds only a torch state_dict, the weights without the model's code"
        return _not_served("torch_state_dict", "torch", one, f"'{one.path}' {what}. {TORCH_WAY_OUT}")
    what = f"is a pickled torch object ({model[:80]}), which needs the code that it was saved with"
    return _not_served("torch_pickle", "torch", one, f"'{one.path}' {what}. {TORCH_WAY_OUT}")


if __name__ == "__main__":
    import sys

    print(json.dumps(detect(sys.argv[1]).as_dict(), indent=1, ensure_ascii=False))
