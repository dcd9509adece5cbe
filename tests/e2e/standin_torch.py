"""What stands in for `torch` where it is not installed: `save` writes the same container as torch.save.

Only the format matters here: a zip with data.pkl, whose pickle names torch's own classes, and raw storages.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

GLOBAL = b"c"


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _tensor(number: int, length: int) -> bytes:
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text(str(number)) + _text("cpu")
    storage += b"M" + struct.pack("<H", length) + b"tQ"
    size = b"M" + struct.pack("<H", length) + b"\x85"
    hooks = b"ccollections\nOrderedDict\n)R"
    rest = b"K\x00" + size + b"K\x01\x85" + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"


def save(state: Mapping[str, list[float]], path: str | Path) -> None:
    """Writes named float vectors as torch.save writes a state_dict."""
    pickled = io.BytesIO(b"")
    pickled.write(b"\x80\x02ccollections\nOrderedDict\n)R(")
    for number, (name, values) in enumerate(state.items()):
        pickled.write(_text(name) + _tensor(number, len(values)))
    pickled.write(b"u.")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/byteorder", "little")
        for number, values in enumerate(state.values()):
            archive.writestr(f"archive/data/{number}", struct.pack(f"<{len(values)}f", *values))
        archive.writestr("archive/version", "3\n")
