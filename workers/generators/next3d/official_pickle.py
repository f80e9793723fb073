"""Reads a released Next3D pickle without running any of it.

The file holds modules with their own source text, which its publisher's loader executes. Here the
source is text, classes are inert records, and a global that no such file needs ends the reading
with its name. Tensors are read from their bytes, wherever they were located when saved.

Format: NVIDIA's `torch_utils.persistence` (version 6) around PyTorch's module state; storages in
the stream that torch.save wrote before 1.6: five pickles, a count, raw little-endian numbers.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import pickletools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.flame.arrays_file import file_sha256
from workers.flame.pickled_arrays import NUMPY_GLOBALS
from workers.flame.safe_pickle import BadPickleError, GlobalTable, loads, no_call

Array = NDArray[np.generic]

STORAGE_MAGIC = 0x1950A86A20F9469CFC6C
STORAGE_PROTOCOL = 1001
PICKLES_OF_A_STORAGE = 5
MAX_HEADER_BYTES = 1 << 16  # of a storage, five short pickles: they have some 300

STORAGE_TYPES: dict[str, str] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}

RENDERING = "training_avatar_texture.volumetric_rendering"
NETWORKS = ("triplane_v13_neural_blending", "triplane_next3d")


class ModuleRecord:
    """A module's state, with the source and class name that it came with."""

    def __init__(self, source: str = "", class_name: str = "") -> None:
        self.source = source
        self.class_name = class_name
        self.state: dict[object, object] = {}

    def build(self, state: object) -> None:
        """Take the instance's dictionary."""
        if not isinstance(state, dict):
            raise ValueError("the state of a module is no dictionary")
        self.state = state

    def arrays(self, kind: str) -> Iterator[tuple[str, Array]]:
        """The module's own tensors of a kind: `_parameters` or `_buffers`."""
        left_out = self.state.get("_non_persistent_buffers_set", set())
        names = left_out if isinstance(left_out, set) else set()
        for name, value in self._entries(kind):
            if value is not None and name not in names:
                if not isinstance(value, np.ndarray):
                    raise ValueError(f"{kind}[{name!r}] is a {type(value).__name__}, no tensor")
                yield name, value

    def children(self) -> Iterator[tuple[str, ModuleRecord]]:
        """The modules below this one."""
        for name, value in self._entries("_modules"):
            if isinstance(value, ModuleRecord):
                yield name, value

    def _entries(self, kind: str) -> Iterator[tuple[str, object]]:
        entries = self.state.get(kind, {})
        if not isinstance(entries, dict):
            raise ValueError(f"{kind} of a module is no dictionary")
        for name, value in entries.items():
            yield str(name), value


@dataclass(frozen=True)
class OfficialCheckpoint:
    """What a released pickle holds that inference needs.

    Attributes:
        tensors: parameters and buffers by their state-dict names.
        attributes: tensors that are plain attributes: uv_face_mask, orth_scale, orth_shift.
        plane_axes: (3, 3, 3) of the renderer.
        init_kwargs: arguments that the network was built with.
        neural_resolution: side of the volume-rendered image.
        source: the embedded source text, never executed.
        sha256: of the file.
    """

    tensors: Mapping[str, Array]
    attributes: Mapping[str, Array]
    plane_axes: Array
    init_kwargs: Mapping[str, object]
    neural_resolution: int
    source: str
    sha256: str

    @property
    def source_sha256(self) -> str:
        """Of the embedded source: it tells which wiring the weights were trained with."""
        return hashlib.sha256(self.source.encode()).hexdigest()


def read_official_checkpoint(path: Path) -> OfficialCheckpoint:
    """Read a released pickle.

    Raises:
        ForbiddenGlobalError: it asks for something that no such file needs.
        BadPickleError: it is torn, or is no Next3D checkpoint.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise BadPickleError(f"{path.name} is empty; get it from its publisher again")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # outlives the open file
    sha256 = file_sha256(path)
    content = loads(memoryview(mapped), OFFICIAL_GLOBALS, source=path.name)
    try:
        return _checkpoint(content, sha256)
    except ValueError as error:
        raise BadPickleError(f"{path.name} is no Next3D checkpoint: {error}") from None


def _checkpoint(content: object, sha256: str) -> OfficialCheckpoint:
    network = content.get("G_ema") if isinstance(content, dict) else None
    if not isinstance(network, ModuleRecord):
        raise ValueError("it holds no network under 'G_ema'")
    state = network.state
    kwargs, resolution = state.get("_init_kwargs"), state.get("neural_rendering_resolution")
    if not isinstance(kwargs, dict) or not isinstance(resolution, int):
        raise ValueError("its network lacks _init_kwargs or neural_rendering_resolution")
    renderer = state.get("renderer") or dict(network.children()).get("renderer")
    axes = renderer.state.get("plane_axes") if isinstance(renderer, ModuleRecord) else None
    if not isinstance(axes, np.ndarray):
        raise ValueError("its renderer lacks plane_axes")
    return OfficialCheckpoint(
        tensors=dict(_state_dict(network, "")),
        attributes={str(k): v for k, v in state.items() if isinstance(v, np.ndarray)},
        plane_axes=axes,
        init_kwargs={str(k): v for k, v in kwargs.items()},
        neural_resolution=resolution,
        source=network.source,
        sha256=sha256,
    )


def _state_dict(module: ModuleRecord, prefix: str) -> Iterator[tuple[str, Array]]:
    for kind in ("_parameters", "_buffers"):
        for name, array in module.arrays(kind):
            yield prefix + name, array
    for name, child in module.children():
        yield from _state_dict(child, f"{prefix}{name}.")


def _persistent(meta: object) -> ModuleRecord:
    """`torch_utils.persistence._reconstruct_persistent_obj`, but for the execution."""
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise ValueError("a persistent object is no class")
    source, name = meta.get("module_src"), meta.get("class_name")
    if not isinstance(source, str) or not isinstance(name, str):
        raise ValueError("a persistent object lacks its source or its name")
    record = ModuleRecord(source, name)
    record.build(meta.get("state"))
    return record


def _plain_module(*_: object) -> ModuleRecord:
    return ModuleRecord()


def _ordered(items: object = ()) -> dict[object, object]:
    if not isinstance(items, list | tuple):
        raise ValueError("an ordered dictionary is made of pairs")
    return dict(items)


def _no_items(*args: object) -> dict[object, object]:
    if args:
        raise ValueError("a dictionary is restored empty and filled afterwards")
    return {}


def _set(items: object = ()) -> set[object]:
    if not isinstance(items, list | tuple) or not all(isinstance(i, str | int) for i in items):
        raise ValueError("a set of names is made of a list of them")
    return set(items)


def _rebuild_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> Array:
    if not isinstance(storage, np.ndarray) or not isinstance(offset, int):
        raise ValueError("a tensor is made of no storage")
    sides, steps = _whole(size), _whole(stride)
    if len(sides) != len(steps) or min((offset, *sides, *steps), default=0) < 0:
        raise ValueError("the sides and strides of a tensor do not fit each other")
    last = offset + sum((n - 1) * step for n, step in zip(sides, steps, strict=True))
    if 0 in sides:
        return np.zeros(sides, storage.dtype)
    if last >= len(storage):
        raise ValueError(f"a tensor reaches number {last} of a storage of {len(storage)}")
    bytes_each = storage.itemsize
    view: Array = np.lib.stride_tricks.as_strided(
        storage[offset:], sides, [step * bytes_each for step in steps], writeable=False
    )
    return view


def _whole(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or not all(type(v) is int for v in values):
        raise ValueError("the size of a tensor is malformed")
    return values


def _rebuild_parameter(data: object, *_: object) -> object:
    return data


def _storage(raw: object) -> Array:
    """`torch.storage._load_from_bytes`: one storage, wherever it was located."""
    if not isinstance(raw, bytes | memoryview):
        raise ValueError("a storage is made of no bytes")
    *header, end = _pickle_bounds(raw)
    parts = [raw[start:stop] for start, stop in zip([0, *header], [*header, end], strict=True)]
    magic, protocol, _, root, _ = (
        loads(part, STORAGE_GLOBALS, source="a storage", persistent_load=_named_storage)
        for part in parts
    )
    if (magic, protocol) != (STORAGE_MAGIC, STORAGE_PROTOCOL):
        raise ValueError("a storage is not in the format of torch.save before 1.6")
    if not isinstance(root, tuple):
        raise ValueError("a storage's stream names none")
    dtype, count = root
    if len(raw) < end + 8 or struct.unpack_from("<q", raw, end)[0] != count:
        raise ValueError("a storage's count is torn or differs from its announcement")
    if len(raw) != end + 8 + count * dtype.itemsize:
        raise ValueError(f"a storage of {count} numbers holds {len(raw) - end - 8} bytes")
    return np.frombuffer(raw, dtype, count, end + 8)


def _pickle_bounds(raw: bytes | memoryview) -> list[int]:
    """Where each pickle of a storage's header ends."""
    stream = io.BytesIO(raw[:MAX_HEADER_BYTES])
    ends = []
    for _ in range(PICKLES_OF_A_STORAGE):
        for _instruction in pickletools.genops(stream):  # reads and names, runs nothing
            pass
        ends.append(stream.tell())
    return ends


def _named_storage(key: object) -> tuple[np.dtype[np.generic], int]:
    """The persistent id ('storage', type, key, location, count, view)."""
    if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
        raise ValueError("a persistent id names no storage")
    name = str(key[1]).rpartition(".")[2]
    if name not in STORAGE_TYPES or type(key[4]) is not int or key[4] < 0:
        raise ValueError(f"a storage of {str(key[1])[:40]} is not known")
    return np.dtype(STORAGE_TYPES[name]), key[4]


STORAGE_GLOBALS: GlobalTable = {("torch", name): no_call for name in STORAGE_TYPES}

OFFICIAL_GLOBALS: GlobalTable = {
    **NUMPY_GLOBALS,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    ("collections", "OrderedDict"): _ordered,
    ("dnnlib.util", "EasyDict"): _no_items,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch.nn.modules.activation", "Softplus"): _plain_module,
    ("torch.nn.modules.container", "ModuleList"): _plain_module,
    ("torch.nn.modules.container", "Sequential"): _plain_module,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    **{(f"training_avatar_texture.{name}", "OSGDecoder"): _plain_module for name in NETWORKS},
    (f"{RENDERING}.ray_marcher", "MipRayMarcher2"): _plain_module,
    (f"{RENDERING}.ray_sampler", "RaySampler"): _plain_module,
    (f"{RENDERING}.renderer", "ImportanceRenderer"): _plain_module,
}
"""Every global that a released file names, each with the inert thing that stands in for it."""
