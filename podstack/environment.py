"""Where a run runs: the system, the packages and the Git commit, as far as they can be seen at once.

Nothing here raises and nothing waits: what cannot be found is left out. Programs are asked for at most
SECONDS in all, and no accelerator is touched: a GPU has its name from the driver's files, or from torch where
the training has set it up already.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECONDS = 1.0
MAX_TEXT = 500
MOST_GPUS = 64
OFF = frozenset({"0", "false", "no", "off"})
DRIVER = Path("/proc/driver/nvidia/gpus")
# user@host:path, as Git reads it: no slash before the first colon.
SHORT_ADDRESS = re.compile(r"(?:[^/:@]+@)?([^/:@]+):(?!//|:)([^@?#]*)")
PACKAGES = (
    "accelerate",
    "bitsandbytes",
    "catboost",
    "dask",
    "datasets",
    "deepspeed",
    "diffusers",
    "evaluate",
    "flax",
    "gensim",
    "jax",
    "jaxlib",
    "keras",
    "lightgbm",
    "lightning",
    "numpy",
    "nvidia-ml-py",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "optuna",
    "pandas",
    "peft",
    "podstack",
    "polars",
    "pyarrow",
    "pyspark",
    "pytorch-lightning",
    "ray",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "spacy",
    "statsmodels",
    "tensorflow",
    "tensorrt",
    "timm",
    "tokenizers",
    "torch",
    "torchaudio",
    "torchvision",
    "transformers",
    "triton",
    "trl",
    "vllm",
    "xgboost",
)


def wanted(capture: bool) -> bool:
    """Whether to look: not with capture=False, and not with PODSTACK_CAPTURE=0."""
    return capture and os.environ.get("PODSTACK_CAPTURE", "").strip().lower() not in OFF


def environment() -> dict[str, Any]:
    """{"system": …, "packages": {name: version}, "git": …}; a part of which nothing is known is left out.

    system: python, platform, hostname, cpu_count, memory_bytes, gpus (names). git: commit, branch (none when
    detached), dirty (a tracked file is changed), remote (origin's address without credentials).
    """
    found = {"system": {**_system(), **_known(gpus=gpus)}, "packages": _packages(), "git": git()}
    return {part: values for part, values in found.items() if values}


@cache
def _system() -> dict[str, Any]:
    return _known(
        python=platform.python_version,
        platform=platform.platform,
        hostname=socket.gethostname,
        cpu_count=os.cpu_count,
        memory_bytes=_memory,
    )


def _known(**parts: Callable[[], Any]) -> dict[str, Any]:
    """What each function answers, printable and short, without those that fail or answer nothing."""
    found: dict[str, Any] = {}
    for name, ask in parts.items():
        with suppress(Exception):
            if answer := ask():
                found[name] = _text(answer) if isinstance(answer, str) else answer
    return found


def _text(value: str) -> str:
    return "".join(character for character in value if character.isprintable())[:MAX_TEXT]


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@cache
def _packages() -> dict[str, str]:
    return _known(**{name: partial(metadata.version, name) for name in PACKAGES})


def gpus() -> list[str]:
    """The names of the NVIDIA GPUs that this process sees; none where that cannot be known for free."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    else:
        files = sorted(DRIVER.glob("*/information"))[:MOST_GPUS]
        found = (re.search(r"^Model:\s*(.+)$", file.read_text(), re.MULTILINE) for file in files)
        names = [match[1] for match in found if match]
    return [_text(name) for name in names[:MOST_GPUS]]


def git(folder: Path | None = None) -> dict[str, Any]:
    """What Git says of the folder of the running script, or of `folder`; empty outside of a repository."""
    where = folder or _folder()
    deadline = time.monotonic() + SECONDS

    def ask(*words: str) -> str:
        return _asked(where, deadline, *words)

    commit = ask("rev-parse", "--verify", "HEAD")
    if not commit:
        return {}
    found: dict[str, Any] = {"commit": _text(commit)}
    found |= _known(
        branch=lambda: ask("symbolic-ref", "--short", "-q", "HEAD"),
        remote=lambda: without_credentials(ask("config", "--get", "remote.origin.url")),
    )
    with suppress(OSError, subprocess.SubprocessError):
        found["dirty"] = bool(_output(where, deadline, "status", "--porcelain", "--untracked-files=no"))
    return found


def _folder() -> Path:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).resolve().parent if script else Path.cwd()


def _asked(folder: Path, deadline: float, *words: str) -> str:
    try:
        return _output(folder, deadline, *words)
    except (OSError, subprocess.SubprocessError):
        return ""


def _output(folder: Path, deadline: float, *words: str) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=max(0.01, deadline - time.monotonic()),
        check=True,
    )
    return done.stdout.strip()


def without_credentials(address: str) -> str:
    """A remote's address without user, password, query and fragment; "" for a form that could hide one.

    >>> without_credentials("https://ann:secret@example.com/team/code.git?token=x")
    'https://example.com/team/code.git'
    >>> without_credentials("git@example.com:team/code.git")
    'example.com:team/code.git'
    """
    if short := SHORT_ADDRESS.fullmatch(address):
        return f"{short[1]}:{short[2]}"
    parts = urlsplit(address)
    if not parts.scheme and "@" not in address and ":" not in address:
        return address
    if (
        parts.scheme not in ("http", "https", "ssh", "git", "file")
        or "@" in f"{parts.path}{parts.query}{parts.fragment}"
    ):
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
