"""Follow a pickle's opcodes without importing or calling anything.

`follow(reader)` plays one pickle on inert placeholders and returns every name that it would import and
everything else that stands in the way of calling it harmless. joblib's raw arrays between the opcodes
are skipped exactly as joblib reads them. What cannot be followed exactly raises `Unreadable`.
"""

from __future__ import annotations

import _compat_pickle
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from serving.files import Reader, Unreadable

WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
WRAPPER_KEYS = {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}
RECONSTRUCTORS = {("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")}
BIG = 1 << 20
NESTED_LIMIT = 8

_Pickler: Any = pickle._Unpickler
_DTYPE = re.compile(r"[|<>=]?([?biufcmMSUVO])(\d*)\Z", re.ASCII)
_IDENTIFIERS = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")


@dataclass
class Found:
    """What one pickle, with the pickles nested in it, imports and does."""

    names: list[tuple[str, str]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    calls: int = 0


class Named:
    """Stands for an imported name."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    @property
    def pair(self) -> tuple[str, str]:
        return self.module, self.name


class Made:
    """Stands for whatever a call on an imported name would have returned."""

    __slots__ = ("args", "kind", "state")

    def __init__(self, kind: tuple[str, str], args: tuple[Any, ...] = ()) -> None:
        self.kind, self.args = kind, args
        self.state: Any = None

    def __setitem__(self, key: object, value: object) -> None:
        """Taken and forgotten."""

    def append(self, value: object) -> None:
        """Taken and forgotten."""

    def extend(self, values: object) -> None:
        """Taken and forgotten."""

    def add(self, value: object) -> None:
        """Taken and forgotten."""


def follow(reader: Reader, found: Found, depth: int = 0, *, joblib: bool = True) -> object:
    """Play one pickle up to its STOP; names and oddities go to `found`. Returns the placeholder result.

    `joblib=False` is a pickle that is not read by joblib's own unpickler. Raises `Unreadable`.
    """
    if depth > NESTED_LIMIT:
        raise Unreadable("nests pickles too deeply")
    try:
        return _Follower(reader, found, depth, joblib).load()
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable("is nested too deeply to be followed") from None
    except MemoryError:
        raise Unreadable("needs more memory than the scan has") from None
    except Exception as error:
        text = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise Unreadable(f"is not a pickle that can be followed to its end ({text})") from None


class _Follower(_Pickler):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Pickler.dispatch)

    def __init__(self, reader: Reader, found: Found, depth: int, joblib: bool) -> None:
        super().__init__(reader)
        self._reader, self._found, self._depth, self._joblib = reader, found, depth, joblib

    def find_class(self, module: str, name: str) -> Named:
        if getattr(self, "proto", 0) < 3:
            module, name = _python3_name(module, name)
        self._found.names.append((module, name))
        if not (_IDENTIFIERS.match(module) and _IDENTIFIERS.match(name)):
            raise Unreadable("imports something that is not a name")
        return Named(module, name)

    def get_extension(self, code: int) -> None:
        self._found.odd.append(f"takes object {code} of the extension registry, which may be anything")
        raise Unreadable("uses the extension registry")

    def persistent_load(self, pid: object) -> Made:
        return Made(("", "persistent object"))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._new(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        args = self.stack.pop()
        self.stack[-1] = self._new(self.stack[-1], args)

    def _instantiate(self, klass: object, args: Any) -> None:
        self.append(self._call(klass, tuple(args)))

    def load_build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if not isinstance(made, Made):
            raise Unreadable("sets the state of something that has none")
        if made.kind == WRAPPER and self._joblib:
            self.stack[-1] = self._skip_array(made, state)
        elif made.kind == ("numpy", "dtype") and made.state is not None:
            raise Unreadable("changes an array type twice")
        made.state = state if made.kind in (("numpy", "dtype"), WRAPPER) else True

    def load_stop(self) -> None:
        frame = self._unframer.current_frame
        if frame is not None and frame.read(1):
            raise Unreadable("has bytes after its end")
        super().load_stop()

    def load_binbytes(self) -> None:
        self.append(self._bytes(int.from_bytes(self.read(4), "little")))

    def load_binbytes8(self) -> None:
        self.append(self._bytes(int.from_bytes(self.read(8), "little")))

    def load_bytearray8(self) -> None:
        self.append(bytearray(self._bytes(int.from_bytes(self.read(8), "little"))))

    def _bytes(self, size: int) -> bytes:
        if size <= BIG:
            return bytes(self.read(size))
        while size > 0:
            step = min(size, BIG)
            self.read(step)
            size -= step
        return b""

    def _call(self, func: object, args: object) -> Made:
        self._found.calls += 1
        if type(args) is not tuple:
            raise Unreadable("calls something without a list of arguments")
        if not isinstance(func, Named):
            self._found.odd.append("calls an object that it has made itself")
            raise Unreadable("calls an object that it has made itself")
        if func.pair in RECONSTRUCTORS and args and isinstance(args[0], Named):
            return self._new(args[0], ())
        if func.pair == WRAPPER:
            raise Unreadable("makes a joblib array in a way that joblib does not")
        return Made(func.pair, args)

    def _new(self, klass: object, args: object) -> Made:
        self._found.calls += 1
        if not isinstance(klass, Named) or type(args) is not tuple:
            raise Unreadable("makes an object of something that is no class")
        if klass.pair == WRAPPER and args:
            raise Unreadable("makes a joblib array in a way that joblib does not")
        return Made(klass.pair, args)

    def _skip_array(self, made: Made, state: object) -> Made:
        if made.state is not None or not isinstance(state, dict) or not _is_wrapper_state(state):
            raise Unreadable("describes a joblib array in a way that joblib does not")
        if any(module.startswith("torch") for module, _ in self._found.names):
            raise Unreadable("mixes joblib arrays with torch tensors")
        size, has_objects = _dtype(state["dtype"])
        if has_objects:
            follow(self._reader, self._found, self._depth + 1, joblib=False)
            return Made(("numpy", "ndarray"))
        if state.get("numpy_array_alignment_bytes") is not None:
            self._reader.skip(self._reader.read(1)[0])
        for length in state["shape"]:
            size *= length
        self._reader.skip(size)
        return Made(("numpy", "ndarray"))


for _code, _method in {
    pickle.REDUCE: _Follower.load_reduce,
    pickle.NEWOBJ: _Follower.load_newobj,
    pickle.NEWOBJ_EX: _Follower.load_newobj_ex,
    pickle.BUILD: _Follower.load_build,
    pickle.STOP: _Follower.load_stop,
    pickle.BINBYTES: _Follower.load_binbytes,
    pickle.BINBYTES8: _Follower.load_binbytes8,
    pickle.BYTEARRAY8: _Follower.load_bytearray8,
}.items():
    _Follower.dispatch[_code[0]] = _method


def _python3_name(module: str, name: str) -> tuple[str, str]:
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[(module, name)]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def _is_wrapper_state(state: dict[Any, Any]) -> bool:
    if not set(state) <= WRAPPER_KEYS or not {"shape", "dtype"} <= set(state):
        return False
    shape = state["shape"]
    return type(shape) is tuple and all(type(length) is int and length >= 0 for length in shape)


def _dtype(dtype: object, depth: int = 0) -> tuple[int, bool]:
    """Item size in bytes of a pickled numpy dtype, and whether its items are objects; strict on purpose:
    a size that numpy would see differently would hide opcodes from the scan.
    """
    if (
        not isinstance(dtype, Made)
        or dtype.kind != ("numpy", "dtype")
        or not dtype.args
        or depth > NESTED_LIMIT
    ):
        raise Unreadable("has an array of a type that cannot be followed")
    match = _DTYPE.match(dtype.args[0]) if type(dtype.args[0]) is str else None
    if match is None or bool(match[2]) == (match[1] == "?"):
        raise Unreadable("has an array of a type that cannot be followed")
    kind = match[1]
    size = int(match[2] or 1) * (4 if kind == "U" else 1)
    objects = kind == "O"
    if dtype.state is None:
        return size, objects
    return size, _checked_objects(dtype.state, kind, size, depth)


def _checked_objects(state: Any, kind: str, size: int, depth: int) -> bool:
    if type(state) is not tuple or len(state) not in (8, 9) or state[0] not in (3, 4):
        raise Unreadable("has an array of a type that cannot be followed")
    _version, _order, part, _names, fields, itemsize, _alignment, flags = state[:8]
    objects = kind == "O"
    if fields is not None:
        objects = max((_dtype(one[0], depth + 1)[1] for one in dict(fields).values()), default=False)
    if part is not None:
        objects = _dtype(part[0], depth + 1)[1]
    agrees = itemsize == (size if kind in "SUV" else -1)
    if (
        not agrees
        or type(flags) is not int
        or bool(flags & 1) != objects
        or ((fields or part) and kind != "V")
    ):
        raise Unreadable("has an array whose type contradicts itself")
    return objects
