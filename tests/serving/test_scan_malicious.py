"""Files that would run something when loaded are never called clean. Nothing here is ever loaded."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import operator
import os
import pickle
import pty
import runpy
import subprocess
import tarfile
import webbrowser
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.scan import run_limited, scan
from tests.serving import samples
from tests.serving.samples import calling, joblib_bytes, zip_of

SYSTEM = b"cos\nsystem\n(S'id'\ntR."


def _stack_global(module: str, name: str) -> bytes:
    return b"\x80\x04" + _short(module) + _short(name) + b"\x93" + _short("id") + b"\x85R."


def _short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def _npy_with_pickle() -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return buffer.getvalue() + calling(os.system, "id")


def _joblib_with_hidden_tail() -> bytes:
    return joblib_bytes({"a": np.arange(5.0), "b": samples.Reduced(os.system, "id")})


def _joblib_object_array() -> bytes:
    return joblib_bytes(np.array([samples.Reduced(os.system, "id")], dtype=object))


def _joblib_lying_itemsize() -> bytes:
    """The dtype says V1 in its arguments and 200 in its state: a careless scan would skip too little or much."""
    data = joblib_bytes(np.zeros(1, dtype="V200"))
    return data.replace(b"V200", b"V100") + calling(os.system, "id")


def _joblib_padding_is_opcodes() -> bytes:
    """Harmless for joblib, which skips the padding; pickle.load would take it for opcodes."""
    data = joblib_bytes(np.zeros(1))
    length = next(n for n in range(16, 0, -1) if b"b" + bytes([n]) + b"\xff" * n in data)
    opcodes = SYSTEM.ljust(ord("N"), b"\xff")
    return data.replace(b"b" + bytes([length]) + b"\xff" * length, b"bN" + opcodes)


def _skops(module: str, name: str, **more: Any) -> bytes:
    node = {"__module__": module, "__class__": name, "__loader__": "ObjectNode", "__id__": 1, **more}
    return zip_of({"schema.json": json.dumps({**node, "protocol": 2}).encode()})


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = calling(os.system, "id")
        member = tarfile.TarInfo("inner/model.pkl")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _tampered_crc() -> bytes:
    data = bytearray(zip_of({"a/data.pkl": calling(os.system, "id")}))
    data[14] ^= 0xFF
    at = data.index(b"PK\x01\x02")
    data[at + 16] ^= 0xFF
    return bytes(data)


def _two_members_of_one_name() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", calling(os.system, "id"))
        archive.writestr("a/data.pkl", pickle.dumps(1))
    return buffer.getvalue()


def _legacy_torch() -> bytes:
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
    return head + calling(os.system, "id", protocol=2) + pickle.dumps([], 2)


def _exported(expression: str) -> bytes:
    return zip_of(
        {"serialized_exported_program.json": json.dumps({"a": [{"expr_str": expression}]}).encode()}
    )


EVIL = calling(os.system, "id")
BUILDERS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "os.system in a pickle": lambda: ("m.pkl", EVIL),
    "os.system in a pickle named as text": lambda: ("notes.txt", SYSTEM),
    "os.system in protocol 0": lambda: ("m.pkl", calling(os.system, "id", protocol=0)),
    "os.system by INST": lambda: ("m.pkl", b"(S'id'\nios\nsystem\n."),
    "os.system by OBJ": lambda: ("m.pkl", b"(cos\nsystem\nS'id'\no."),
    "posix.system by STACK_GLOBAL": lambda: ("m.pkl", _stack_global("posix", "system")),
    "an attribute path in STACK_GLOBAL": lambda: ("m.pkl", _stack_global("sklearn.utils", "os.system")),
    "a path through a class": lambda: (
        "m.pkl",
        _stack_global("sklearn.base", "BaseEstimator.__init__.__globals__"),
    ),
    "names from the memo": lambda: (
        "m.pkl",
        b"\x80\x04"
        + _short("system")
        + b"\x94"
        + _short("os")
        + b"\x940"
        + b"0h\x01h\x00\x93"
        + _short("id")
        + b"\x85R.",
    ),
    "names made by an allowed call": lambda: (
        "m.pkl",
        b"\x80\x04cbuiltins\nstr\n" + _short("os") + b"\x85R" + _short("system") + b"\x93.",
    ),
    "eval": lambda: ("m.pkl", calling(eval, "1")),
    "exec": lambda: ("m.pkl", calling(exec, "1")),
    "eval by Python 2's name": lambda: ("m.pkl", b"c__builtin__\neval\n(S'1'\ntR."),
    "execfile by Python 2's name": lambda: ("m.pkl", b"c__builtin__\nexecfile\n(S'1'\ntR."),
    "subprocess by Python 2's commands": lambda: ("m.pkl", b"ccommands\ngetoutput\n(S'id'\ntR."),
    "getattr": lambda: ("m.pkl", calling(getattr, {}, "get")),
    "__import__": lambda: ("m.pkl", calling(__import__, "os")),
    "open": lambda: ("m.pkl", calling(open, "/etc/passwd")),
    "map": lambda: ("m.pkl", calling(map, str, [1])),
    "type": lambda: ("m.pkl", calling(type, "A", (), {})),
    "subprocess.Popen": lambda: ("m.pkl", calling(subprocess.Popen, ["id"])),
    "runpy": lambda: ("m.pkl", calling(runpy.run_path, "x.py")),
    "pty": lambda: ("m.pkl", calling(pty.spawn, "sh")),
    "webbrowser": lambda: ("m.pkl", calling(webbrowser.open, "http://example.com")),
    "functools.partial": lambda: ("m.pkl", pickle.dumps(functools.partial(print, 1))),
    "functools.reduce": lambda: ("m.pkl", calling(functools.reduce, max, [1])),
    "operator.methodcaller": lambda: ("m.pkl", pickle.dumps(operator.methodcaller("system", "id"))),
    "operator.attrgetter": lambda: ("m.pkl", pickle.dumps(operator.attrgetter("a"))),
    "types.FunctionType": lambda: ("m.pkl", b"ctypes\nFunctionType\n(I1\ntR."),
    "numpy.load": lambda: ("m.pkl", calling(np.load, "x.npy")),
    "numpy.f2py": lambda: ("m.pkl", b"cnumpy.f2py.crackfortran\ngetlincoef\n(S'1'\ntR."),
    "numpy.testing": lambda: ("m.pkl", b"cnumpy.testing._private.utils\nrunstring\n(S'1'\ntR."),
    "numpy's ufunc rebuilding": lambda: ("m.pkl", b"cnumpy.core\n_ufunc_reconstruct\n(S'os'\nS'system'\ntR."),
    "scipy.stats' stored code": lambda: ("m.pkl", b"cscipy.stats._continuous_distns\nnorm_gen\n)\x81}b."),
    "joblib.Memory": lambda: ("m.pkl", b"cjoblib.memory\nMemory\n)R."),
    "joblib's old array wrapper": lambda: ("m.pkl", b"cjoblib.numpy_pickle_compat\nNDArrayWrapper\n)\x81}b."),
    "sklearn's imported check_output": lambda: (
        "m.pkl",
        b"csklearn.utils._testing\ncheck_output\n(S'id'\ntR.",
    ),
    "sklearn's Parallel": lambda: ("m.pkl", b"csklearn.utils.parallel\nParallel\n)R."),
    "torch.hub": lambda: ("m.pkl", b"ctorch.hub\nload\n(S'a'\ntR."),
    "torch.storage's nested load": lambda: (
        "m.pkl",
        b"\x80\x02ctorch.storage\n_load_from_bytes\nC\x01a\x85R.",
    ),
    "a class of nobody's": lambda: ("m.pkl", b"c__main__\nNet\n)\x81."),
    "the extension registry": lambda: ("m.pkl", b"\x80\x02\x82\x01)R."),
    "the extension registry, four bytes": lambda: ("m.pkl", b"\x80\x02\x84\x01\x00\x00\x00)R."),
    "a second pickle after the first": lambda: ("m.pkl", pickle.dumps(1) + EVIL),
    "a text pickle after the first": lambda: ("m.pkl", pickle.dumps(1) + SYSTEM),
    "bytes after STOP": lambda: ("m.pkl", pickle.dumps(1) + b"junk"),
    "bytes after STOP in a frame": lambda: ("m.pkl", b"\x80\x04\x95\x05\0\0\0\0\0\0\0N.abc"),
    "a call that fails after it ran": lambda: ("m.pkl", SYSTEM[:-1] + b"\xff"),
    "a cut pickle": lambda: ("m.pkl", pickle.dumps(samples.iris())[:-20]),
    "no pickle at all": lambda: ("m.pkl", b"\xff\xfe" * 40),
    "a call on a made object": lambda: ("m.pkl", b"ccollections\nOrderedDict\n)R(S'id'\ntR."),
    "joblib, after an array": lambda: ("m.joblib", _joblib_with_hidden_tail()),
    "joblib, inside an array of objects": lambda: ("m.joblib", _joblib_object_array()),
    "joblib, a dtype that lies": lambda: ("m.joblib", _joblib_lying_itemsize()),
    "joblib, opcodes as padding": lambda: ("m.joblib", _joblib_padding_is_opcodes()),
    "joblib by zlib": lambda: ("m.joblib", zlib.compress(EVIL)),
    "joblib by gzip": lambda: ("m.joblib", gzip.compress(EVIL)),
    "joblib by bz2": lambda: ("m.joblib", bz2.compress(EVIL)),
    "joblib by xz": lambda: ("m.joblib", lzma.compress(EVIL)),
    "joblib by lzma": lambda: ("m.joblib", lzma.compress(EVIL, format=lzma.FORMAT_ALONE)),
    "a second stream after zlib's end": lambda: (
        "m.joblib",
        zlib.compress(pickle.dumps(1)) + zlib.compress(EVIL),
    ),
    "compressed twice": lambda: ("m.joblib", gzip.compress(zlib.compress(EVIL))),
    "old joblib": lambda: ("m.joblib", b"ZF0x1                " + zlib.compress(EVIL)),
    "lz4": lambda: ("m.joblib", b"\x04\x22\x4d\x18" + b"\0" * 20),
    "a torch zip": lambda: ("m.pt", zip_of({"m/data.pkl": EVIL, "m/version": b"3"})),
    "a deflated torch zip": lambda: ("m.pt", zip_of({"m/data.pkl": EVIL}, zipfile.ZIP_DEFLATED)),
    "a zip in a zip": lambda: ("m.zip", zip_of({"a.zip": zip_of({"b.zip": zip_of({"x.pkl": EVIL})})})),
    "a zip with a false checksum": lambda: ("m.pt", _tampered_crc()),
    "a zip with two members of one name": lambda: ("m.pt", _two_members_of_one_name()),
    "a pickle of no known ending in a zip": lambda: ("m.zip", zip_of({"x.dat": SYSTEM})),
    "torch's old format": lambda: ("m.pt", _legacy_torch()),
    "a tar": lambda: ("m.tar", _tar()),
    "a compressed tar": lambda: ("m.tgz", gzip.compress(_tar())),
    "an array of objects": lambda: ("a.npy", _npy_with_pickle()),
    "an array of objects in npz": lambda: ("a.npz", zip_of({"a.npy": _npy_with_pickle()})),
    "skops with a foreign type": lambda: ("m.skops", _skops("os", "system")),
    "skops with a foreign function": lambda: (
        "m.skops",
        _skops(
            "builtins",
            "function",
            content={"module_path": "os", "function": "system"},
            __loader__="FunctionNode",
        ),
    ),
    "skops with methodcaller": lambda: (
        "m.skops",
        _skops("operator", "methodcaller", __loader__="OperatorFuncNode"),
    ),
    "skops with a pickle inside": lambda: (
        "m.skops",
        zip_of({"schema.json": b"{}", "1.npy": _npy_with_pickle()}),
    ),
    "torch.export with code as an expression": lambda: ("m.pt2", _exported("__import__('os').system('id')")),
    "torch.export with a call without quotes": lambda: ("m.pt2", _exported("exec(chr(105))")),
    "compiled Python": lambda: ("x.pyc", b"\xa7\r\r\n"),
    "a program": lambda: ("x.so", b"\x7fELF" + b"\0" * 100),
}


@pytest.mark.parametrize("what", BUILDERS)
def test_it_is_never_called_clean(what: str) -> None:
    name, data = BUILDERS[what]()
    found = scan([(name, lambda: io.BytesIO(data))])
    assert found.verdict != "clean"
    assert found.reasons and all(name in reason and reason.endswith(".") for reason in found.reasons)


def test_the_sentence_names_the_file_and_the_import() -> None:
    found = scan([("a/model.pkl", lambda: io.BytesIO(EVIL))])
    assert found.verdict == "suspicious"
    assert found.reasons == [
        "'a/model.pkl' imports posix.system, which can run code or commands when the file is loaded."
    ]


def test_scanning_never_runs_what_a_file_asks_for(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    folder = samples.folder(tmp_path / "m", model__pkl=calling(os.system, f"touch {proof}"))
    assert run_limited(folder)["verdict"] == "suspicious"
    assert not proof.exists()


def test_a_zip_bomb_is_not_scannable_and_does_not_take_long(tmp_path: Path) -> None:
    layer = zip_of({f"{at}.bin": b"\0" * (8 << 20) for at in range(4)}, zipfile.ZIP_DEFLATED)
    for _ in range(10):
        layer = zip_of({"a.zip": layer, "b.zip": layer}, zipfile.ZIP_DEFLATED)
    said = run_limited(samples.folder(tmp_path / "m", model__zip=layer))
    assert said["verdict"] == "not_scannable"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = samples.folder(tmp_path / "m", a__txt="x")
    (folder / "model.pkl").symlink_to("/etc/passwd")
    assert scan(folder).verdict == "not_scannable"


def test_a_pickle_of_harmless_names_that_cannot_be_followed_is_not_clean_under_any_name() -> None:
    data = b"ccollections\nOrderedDict\n)R(S'id'\ntR"
    for name in ("m.pkl", "m.bin", "notes.txt"):
        assert scan([(name, lambda: io.BytesIO(data))]).verdict != "clean"
