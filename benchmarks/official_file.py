"""Writes a random checkpoint in the format of the released pickle, at full size or any other.

The modules that such a file names are stood in for by empty ones, so that Python's own pickler and
torch's own tensors write what they wrote for the publisher.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from workers.generators.next3d.checkpoint import TOPOLOGY_TENSORS, expected_shapes
from workers.generators.next3d.config import (
    BLENDING_LOWEST,
    MOUTH_LOWEST,
    MOUTH_RESOLUTION,
    PLANE_CHANNELS,
    PLANE_RESOLUTION,
    Next3DConfig,
)
from workers.generators.next3d.layers import Conv2dLayer, SynthesisBlock
from workers.generators.next3d.mapping import MappingNetwork
from workers.generators.next3d.planes import PLANE_AXES
from workers.generators.next3d.synthesis import Widths, block_resolutions, num_ws
from workers.generators.next3d.views import ORTH_SCALE, ORTH_SHIFT

NUM_FACES, NUM_VERTICES = 9976, 5023
SOURCE = "# made up for a benchmark: no network is defined here\n"
_PERSISTENCE = "torch_utils.persistence"
_NETWORK = "training_avatar_texture.triplane_v13_neural_blending"
_RENDERING = "training_avatar_texture.volumetric_rendering"
_PLAIN = {
    "decoder": (_NETWORK, "OSGDecoder"),
    "renderer": (f"{_RENDERING}.renderer", "ImportanceRenderer"),
    "ray_sampler": (f"{_RENDERING}.ray_sampler", "RaySampler"),
}
"""Modules that the format stores by their class alone."""

Shapes = dict[str, tuple[int, ...]]


class _Persistent:
    """A module as `torch_utils.persistence` stores it."""

    def __init__(self, state: dict[str, object]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[object, ...]:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": SOURCE,
            "class_name": "TriPlaneGenerator",
            "state": self.state,
        }
        return _reconstruct_persistent_obj, (meta,)


def _reconstruct_persistent_obj(meta: object) -> object:
    raise NotImplementedError(f"a stand-in that is named, never called: {meta!r:.40}")


def unused_shapes(config: Next3DConfig) -> Shapes:
    """Parameters that a released file holds and that never reach the output."""
    widths = Widths(config.channel_base, config.channel_max)
    modules: dict[str, nn.Module] = {}
    with torch.device("meta"):
        for name in ("texture_backbone", "mouth_backbone", "neural_blending"):
            modules[f"{name}.mapping"] = MappingNetwork(
                config.z_dim,
                config.c_dim,
                config.w_dim,
                num_ws=num_ws(PLANE_RESOLUTION),
                num_layers=config.mapping_layers,
            )
        for name, lowest, first in (
            ("mouth_backbone", MOUTH_LOWEST, MOUTH_RESOLUTION),
            ("neural_blending", BLENDING_LOWEST, PLANE_RESOLUTION),
        ):
            for side in block_resolutions(4, lowest):
                before = 0 if side == 4 else widths.at(side // 2)
                modules[f"{name}.synthesis.b{side}"] = SynthesisBlock(
                    before, widths.at(side), config.w_dim, side, PLANE_CHANNELS
                )
            last = len(block_resolutions(2 * lowest, first))
            wide = widths.at(first)
            modules[f"{name}.synthesis.fusion.{last}"] = Conv2dLayer(2 * wide, wide, 3)
    return {
        f"{prefix}.{name}": tuple(tensor.shape)
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def released_shapes(config: Next3DConfig) -> Shapes:
    """All parameters and buffers of a released file, but for filters and the mesh."""
    used = {name: shape for name, shape in expected_shapes(config).items() if shape is not None}
    return used | unused_shapes(config)


def write_official(path: Path, config: Next3DConfig, *, init_kwargs: dict[str, object]) -> None:
    """Write a file of random weights.

    Args:
        path: of the pickle.
        config: of the network.
        init_kwargs: the constructor's arguments, as the file keeps them; they describe `config`.
    """
    numbers = torch.Generator().manual_seed(0)
    tree: dict[str, object] = {}
    for name, shape in released_shapes(config).items():
        _place(tree, name.split("."), torch.randn(shape, generator=numbers))
    for name, tensor in _mesh(numbers).items():
        _place(tree, [name], tensor)
    with _stand_ins() as classes, path.open("wb") as file:
        network = _module(tree, classes, "")
        state = network.state
        state["_modules"].update(  # type: ignore[attr-defined]
            {
                "renderer": _plain(classes["renderer"], {"plane_axes": torch.tensor(PLANE_AXES)}),
                "ray_sampler": _plain(classes["ray_sampler"], {}),
            }
        )
        state["uv_face_mask"] = torch.ones(1, 1, PLANE_RESOLUTION, PLANE_RESOLUTION)
        state["orth_scale"] = torch.tensor([[ORTH_SCALE]])
        state["orth_shift"] = torch.tensor([ORTH_SHIFT])
        state["neural_rendering_resolution"] = config.neural_resolution
        state["_init_kwargs"] = init_kwargs
        pickle.dump({"training_set_kwargs": {}, "G_ema": network}, file, protocol=4)


def _mesh(numbers: torch.Generator) -> dict[str, Tensor]:
    """A mesh of FLAME's counts; `TOPOLOGY_TENSORS` but the mask."""
    faces, corner_uv, _ = TOPOLOGY_TENSORS
    return {
        faces: torch.randint(NUM_VERTICES, (1, NUM_FACES, 3), generator=numbers),
        corner_uv: torch.rand(1, NUM_FACES, 3, 3, generator=numbers),
    }


def _place(tree: dict[str, object], path: list[str], tensor: Tensor) -> None:
    for name in path[:-1]:
        inner = tree.setdefault(name, {})
        assert isinstance(inner, dict)
        tree = inner
    tree[path[-1]] = tensor


def _module(tree: dict[str, object], classes: dict[str, type], name: str) -> _Persistent:
    """A module of tensors and of modules below it; tensors are kept as buffers."""
    modules: OrderedDict[str, object] = OrderedDict()
    tensors: OrderedDict[str, object] = OrderedDict()
    for key, value in tree.items():
        if not isinstance(value, dict):
            tensors[key] = value
        elif not name and key in _PLAIN:
            inner = _module(value, classes, key)
            modules[key] = _plain(classes[key], inner.state)
        else:
            modules[key] = _module(value, classes, f"{name}.{key}")
    return _Persistent({"_parameters": {}, "_buffers": tensors, "_modules": modules})


def _plain(kind: type, state: dict[str, object]) -> object:
    made: object = kind()
    made.__dict__.update(state)
    return made


@contextmanager
def _stand_ins() -> Iterator[dict[str, type]]:
    """Let the names that the format stores be found while it is written."""
    classes: dict[str, type] = {}
    modules = {_PERSISTENCE: types.ModuleType(_PERSISTENCE)}
    _reconstruct_persistent_obj.__module__ = _PERSISTENCE
    modules[_PERSISTENCE].__dict__["_reconstruct_persistent_obj"] = _reconstruct_persistent_obj
    for key, (module, name) in _PLAIN.items():
        classes[key] = type(name, (), {"__module__": module})
        modules.setdefault(module, types.ModuleType(module)).__dict__[name] = classes[key]
    parents = {name.split(".")[0] for name in modules}
    modules |= {name: types.ModuleType(name) for name in parents if name not in modules}
    sys.modules.update(modules)
    try:
        yield classes
    finally:
        for name in modules:
            del sys.modules[name]
        _reconstruct_persistent_obj.__module__ = __name__
