"""What NumPy, chumpy and SciPy write into a pickle, read as numbers.

The stand-ins hold a shape, a dtype and bytes, and compare them before an array is made. Neither
chumpy nor SciPy is needed.

Source of the layouts: NumPy's `ndarray.__reduce__` and `dtype.__reduce__` documentation; a chumpy
`Ch` keeps its array under `x` in its state; a SciPy csc matrix keeps `data`, `indices`, `indptr`
and `_shape`.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from workers.flame.safe_pickle import GlobalRef, GlobalTable, no_call

_NUMERIC = re.compile(r"[<>|=]?([biuf])(1|2|4|8)")
_OBJECT = re.compile(r"[|]?O[48]?")
_MAX_DIMENSIONS = 8
_MAX_NESTING = 3
_MAX_LIST = 10_000  # items of a list read as an array: the longest official one has 79
_MAX_STACKED = 1 << 24  # numbers of such a list, which may name one array many times


class PickledDtype:
    """A number's type: bool, integer or float. `is_object` marks an array of Python objects."""

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or not (_NUMERIC.fullmatch(name) or _OBJECT.fullmatch(name)):
            raise ValueError(f"dtype {str(name)[:40]!r} is no bool, integer or float")
        self.is_object = "O" in name
        self.dtype = np.dtype("u1" if self.is_object else name)

    def build(self, state: object) -> None:
        """Take (version, byte order, subdtype, names, fields, ...)."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("the state of a dtype is malformed")
        if any(part is not None for part in state[2:5]):
            raise ValueError("a dtype with fields holds no plain numbers")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray:
    """An ndarray: numbers, or a list of objects where the dtype says so."""

    def __init__(self) -> None:
        self.numbers: NDArray[np.generic] | None = None
        self.objects: list[object] | None = None

    def build(self, state: object) -> None:
        """Take (version, shape, dtype, is_fortran, data)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("the state of an array is malformed")
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, PickledDtype):
            raise ValueError("the dtype of an array is malformed")
        if dtype.is_object:
            self.objects = _objects_of(_checked_shape(shape), data)
        else:
            self.numbers = _array_of(data, dtype.dtype, shape, bool(is_fortran))


class ChumpyArray:
    """A `chumpy.ch.Ch`, whose value is the array under `x`."""

    def __init__(self) -> None:
        self.x: object = None

    def build(self, state: object) -> None:
        """Take the instance's dictionary."""
        if not isinstance(state, dict) or "x" not in state:
            raise ValueError("a chumpy array holds no 'x'")
        self.x = state["x"]


class CscMatrix:
    """A `scipy.sparse` matrix compressed by columns."""

    def __init__(self) -> None:
        self._state: dict[object, object] = {}

    def build(self, state: object) -> None:
        """Take the instance's dictionary."""
        if not isinstance(state, dict):
            raise ValueError("the state of a sparse matrix is malformed")
        self._state = state

    def dense(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Spread the stored entries over a matrix of zeros; equal coordinates add up.

        Args:
            shape: what the reader expects, so that a bogus size is refused before it is made.

        Raises:
            ValueError: the shape differs or the entries do not fit it.
        """
        stored = self._state.get("_shape", self._state.get("shape"))
        if stored != shape:
            raise ValueError(f"a sparse matrix has shape {str(stored)[:40]}, not {shape}")
        values = plain_array(self._state.get("data")).astype(np.float64)
        rows = plain_array(self._state.get("indices")).astype(np.int64)
        starts = plain_array(self._state.get("indptr")).astype(np.int64)
        num_rows, num_columns = shape
        if starts.shape != (num_columns + 1,) or rows.ndim != 1 or values.shape != rows.shape:
            raise ValueError("the parts of a sparse matrix do not fit each other")
        counts = starts[1:] - starts[:-1]
        ends_fit = starts[0] == 0 and starts[-1] == len(rows) and counts.min() >= 0
        if not ends_fit or ((rows < 0) | (rows >= num_rows)).any():
            raise ValueError("a sparse matrix has entries outside its shape")
        columns = np.repeat(np.arange(num_columns), counts)
        dense = np.zeros(shape)
        np.add.at(dense, (rows, columns), values)
        return dense


def plain_array(value: object, *, depth: int = 0) -> NDArray[np.generic]:
    """Turn what a pickle held into an array: an array, a chumpy array, or a list of equal ones.

    Args:
        value: what the file held.
        depth: how many lists and wrappers are around it already.

    Raises:
        ValueError: it is something else, a list of unequal shapes, or nested without end.
    """
    if depth > _MAX_NESTING:
        raise ValueError(f"an array is wrapped more than {_MAX_NESTING} times")
    if isinstance(value, ChumpyArray):
        return plain_array(value.x, depth=depth + 1)
    if isinstance(value, PickledArray) and value.numbers is not None:
        return value.numbers
    if isinstance(value, PickledArray) and value.objects is not None:
        return plain_array(value.objects, depth=depth + 1)
    if isinstance(value, list | tuple) and 0 < len(value) <= _MAX_LIST:
        return _stacked([plain_array(item, depth=depth + 1) for item in value])
    if isinstance(value, bool | int | float):
        return np.asarray(value, dtype=np.float64)
    raise ValueError(f"a {type(value).__name__} is no array of numbers")


def only_object(value: object) -> object:
    """The one object in an array of no dimensions, as `numpy.save` stores a dictionary."""
    if isinstance(value, PickledArray) and value.objects is not None and len(value.objects) == 1:
        return value.objects[0]
    raise ValueError("the file holds no single object")


def _stacked(arrays: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    if len(arrays) * arrays[0].size > _MAX_STACKED:
        raise ValueError("a list of arrays repeats more numbers than a file of this kind holds")
    return np.stack(arrays)


def _checked_shape(shape: object) -> tuple[int, ...]:
    is_shape = (
        isinstance(shape, tuple)
        and len(shape) <= _MAX_DIMENSIONS
        and all(isinstance(side, int) and side >= 0 for side in shape)
    )
    if not isinstance(shape, tuple) or not is_shape:
        raise ValueError("the shape of an array is malformed")
    return shape


def _array_of(
    data: object, dtype: np.dtype[np.generic], shape: object, is_fortran: bool
) -> NDArray[np.generic]:
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise ValueError("an array's data are no bytes")
    sides = _checked_shape(shape)
    needed = math.prod(sides) * dtype.itemsize
    if needed != len(raw):
        raise ValueError(
            f"an array of shape {str(sides)[:80]} needs {needed} bytes, the file holds {len(raw)}"
        )
    return np.frombuffer(raw, dtype=dtype).reshape(sides, order="F" if is_fortran else "C")


def _objects_of(shape: tuple[int, ...], data: object) -> list[object]:
    if not isinstance(data, list) or len(data) != math.prod(shape):
        raise ValueError("an array of objects does not hold as many as its shape says")
    return data


def _reconstruct(kind: object, *_: object) -> PickledArray:
    if not isinstance(kind, GlobalRef) or (kind.module, kind.name) != ("numpy", "ndarray"):
        raise ValueError("only a plain ndarray can be restored")
    return PickledArray()


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> PickledArray:
    array = PickledArray()
    array.build((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: object, data: object) -> object:
    if not isinstance(dtype, PickledDtype) or dtype.is_object:
        raise ValueError("the dtype of a number is malformed")
    return _array_of(data, dtype.dtype, (), is_fortran=False).item()


def _encode(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("only latin-1 is encoded")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """`bytes()`, which is how Python 3 writes empty bytes in the protocols of Python 2."""
    return b""


def _restore_object(kind: object, base: object, state: object) -> object:
    """`copy_reg._reconstructor`: an empty object of a class, in pickles of protocol 0 and 1."""
    is_plain = isinstance(base, GlobalRef) and base.name == "object" and state is None
    if not isinstance(kind, GlobalRef) or not is_plain:
        raise ValueError("only a plain object can be restored")
    return kind.factory()


def _make_set(items: object = ()) -> set[object]:
    if not isinstance(items, list | tuple) or not all(isinstance(i, str | int) for i in items):
        raise ValueError("a set of names or numbers is made of a list of them")
    return set(items)


NUMPY_GLOBALS: GlobalTable = {
    ("numpy", "ndarray"): no_call,
    ("numpy", "dtype"): PickledDtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}
"""Arrays, dtypes and numbers as NumPy 1 and 2 write them, from Python 2 and 3."""

FLAME_GLOBALS: GlobalTable = {
    **NUMPY_GLOBALS,
    ("__builtin__", "object"): no_call,
    ("builtins", "object"): no_call,
    ("__builtin__", "set"): _make_set,
    ("builtins", "set"): _make_set,
    ("copy_reg", "_reconstructor"): _restore_object,
    ("copyreg", "_reconstructor"): _restore_object,
    ("chumpy.ch", "Ch"): ChumpyArray,
    ("scipy.sparse.csc", "csc_matrix"): CscMatrix,
    ("scipy.sparse._csc", "csc_matrix"): CscMatrix,
}
"""What the official FLAME files hold: arrays, chumpy arrays and a sparse joint regressor."""
