"""From a released pickle to a network: once into a safe file, from there into every worker.

The safe file holds what inference reads and nothing else, with its provenance: sha256 of the pickle
and of the source text in it, the network's arguments, the wiring.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.generators.next3d.config import (
    BLENDING_LOWEST,
    MOUTH_LOWEST,
    MOUTH_RESOLUTION,
    PLANE_RESOLUTION,
    Next3DConfig,
    Wiring,
)
from workers.generators.next3d.network import Next3DNetwork
from workers.generators.next3d.official_pickle import OfficialCheckpoint
from workers.generators.next3d.planes import PLANE_AXES
from workers.generators.next3d.resampling import fir_filter
from workers.generators.next3d.safetensors_file import read_safetensors, write_safetensors
from workers.generators.next3d.synthesis import FIRST_RESOLUTION, block_resolutions
from workers.generators.next3d.topology import DressedTopology
from workers.generators.next3d.views import ORTH_SCALE, ORTH_SHIFT
from workers.pages import drop_pages

Array = NDArray[np.generic]

TOPOLOGY_TENSORS = ("faces", "face_uvcoords", "uv_face_mask")
FORMAT = "synthforge next3d 1"
LISTED = 12


class CheckpointError(ValueError):
    """The tensors are not those of this network; the message lists them."""


@dataclass(frozen=True)
class Next3DWeights:
    """All that a network is built from.

    Attributes:
        config: shape, rendering, wiring.
        tensors: parameters and buffers by the published names, and `TOPOLOGY_TENSORS`.
        provenance: sha256 of the pickle, of the source in it, and what else the import knew.
    """

    config: Next3DConfig
    tensors: Mapping[str, Array]
    provenance: Mapping[str, str]

    @classmethod
    def from_official(cls, official: OfficialCheckpoint, *, wiring: Wiring) -> Next3DWeights:
        """Take a released checkpoint; what does not reach the output is left out.

        Raises:
            CheckpointError: its tensors, planes or projection are not this network's.
            ValueError: its arguments ask for what this implementation does not do.
        """
        _check_attribute("plane_axes", official.plane_axes, np.array(PLANE_AXES))
        for name, wanted in (("orth_scale", [[ORTH_SCALE]]), ("orth_shift", [ORTH_SHIFT])):
            if name in official.attributes:
                _check_attribute(name, official.attributes[name], np.array(wanted))
        if "uv_face_mask" not in official.attributes:
            raise CheckpointError("the checkpoint lacks uv_face_mask")
        config = Next3DConfig.from_init_kwargs(
            official.init_kwargs, neural_resolution=official.neural_resolution, wiring=wiring
        )
        available = {**official.tensors, "uv_face_mask": official.attributes["uv_face_mask"]}
        return cls(
            config=config,
            tensors=used_tensors(available, config),
            provenance={
                "checkpoint_sha256": official.sha256,
                "source_sha256": official.source_sha256,
                "init_kwargs": json.dumps(official.init_kwargs, sort_keys=True),
                "neural_resolution": str(official.neural_resolution),
            },
        )

    def save(self, path: Path) -> None:
        """Write the safe file."""
        words = {**self.provenance, "format": FORMAT, "wiring": self.config.wiring}
        write_safetensors(path, self.tensors, words)

    @classmethod
    def load(cls, path: Path) -> Next3DWeights:
        """Map a safe file.

        Raises:
            ValueError: it is torn, or holds something else.
        """
        file = read_safetensors(path)
        words = dict(file.metadata)
        if words.pop("format", None) != FORMAT:
            raise CheckpointError(f"{path.name} holds no converted Next3D checkpoint; import one")
        wiring = words.pop("wiring")
        config = Next3DConfig.from_init_kwargs(
            json.loads(words["init_kwargs"]),
            neural_resolution=int(words["neural_resolution"]),
            wiring="three-plane" if wiring == "three-plane" else "front-plane",
        )
        return cls(config, file.tensors, words)


def build_network(
    weights: Next3DWeights,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Next3DNetwork:
    """Build the network, load it strictly, lay it out for inference.

    Raises:
        CheckpointError: tensors are missing, too many, or of another shape.
    """
    config, tensors = weights.config, used_tensors(weights.tensors, weights.config)
    topology = DressedTopology.from_buffers(*(_copied(tensors[n]) for n in TOPOLOGY_TENSORS))
    network = empty_network(config, topology)
    loaded = {name: _copied(tensors[name]).float() for name in network.state_dict()}
    network.load_state_dict(loaded, assign=True)
    _without_gradients(network)
    del loaded
    with torch.inference_mode():
        network.prepare(device or torch.device("cpu"), dtype)
    return network


def untrained_weights(
    config: Next3DConfig, topology: Mapping[str, Array], *, seed: int = 0
) -> Next3DWeights:
    """Random weights of a network's shape: for tests, benchmarks and capacity planning.

    Args:
        config: of the network.
        topology: the `TOPOLOGY_TENSORS` of a mesh.
        seed: of the numbers.
    """
    generator = np.random.default_rng(seed)
    tensors: dict[str, Array] = dict(topology)
    for name, shape in expected_shapes(config).items():
        if shape is None:
            continue
        if name.endswith("affine.bias"):
            tensors[name] = np.ones(shape, np.float32)
        elif name.endswith((".bias", "noise_strength", "w_avg")):
            tensors[name] = np.zeros(shape, np.float32)
        else:
            scale = 100.0 if ".mapping.fc" in name else 1.0
            tensors[name] = generator.standard_normal(shape, np.float32) * np.float32(scale)
    return Next3DWeights(config, tensors, {"untrained_seed": str(seed)})


def empty_network(config: Next3DConfig, topology: DressedTopology) -> Next3DNetwork:
    """The modules without any memory behind them."""
    with torch.device("meta"):
        return Next3DNetwork(config, topology)


def _without_gradients(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.requires_grad_(False)


def _copied(array: Array) -> Tensor:
    copy = torch.from_numpy(np.array(array))
    drop_pages(array)
    return copy


def expected_shapes(config: Next3DConfig) -> dict[str, tuple[int, ...] | None]:
    """Names of what is loaded, with their shapes; None where the mesh decides."""
    placeholder = DressedTopology(torch.empty(0), torch.empty(0), torch.empty(0))
    state = empty_network(config, placeholder).state_dict()
    shapes: dict[str, tuple[int, ...] | None] = dict.fromkeys(TOPOLOGY_TENSORS)
    return {**shapes, **{name: tuple(tensor.shape) for name, tensor in state.items()}}


def used_tensors(available: Mapping[str, Array], config: Next3DConfig) -> dict[str, Array]:
    """Pick what is loaded; `CheckpointError` lists what is missing, unknown or misshapen."""
    wanted = expected_shapes(config)
    left_out = _left_out()
    missing = sorted(wanted.keys() - available.keys())
    extra = sorted(
        name for name in available.keys() - wanted.keys() if not left_out.fullmatch(name)
    )
    wrong = sorted(
        f"{name} {available[name].shape} instead of {shape}"
        for name, shape in wanted.items()
        if shape is not None and name in available and available[name].shape != shape
    )
    fir = fir_filter().numpy()
    wrong += sorted(
        f"{name} is no binomial filter"
        for name, array in available.items()
        if name.endswith("resample_filter")
        and (array.shape != fir.shape or not np.allclose(array.astype(np.float32), fir, atol=1e-6))
    )
    problems = [
        f"{kind}: {_listed(names)}"
        for kind, names in (("missing", missing), ("unknown", extra), ("unfit", wrong))
        if names
    ]
    if problems:
        raise CheckpointError("the checkpoint is not this network's; " + "; ".join(problems))
    return {name: available[name] for name in wanted}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _left_out() -> re.Pattern[str]:
    """Published names that never reach the output: not built, not kept."""
    own_mapping = r"(texture_backbone|mouth_backbone|neural_blending)\.mapping\..+"
    mouth = _unbuilt("mouth_backbone", MOUTH_LOWEST, MOUTH_RESOLUTION)
    blending = _unbuilt("neural_blending", BLENDING_LOWEST, PLANE_RESOLUTION)
    buffers = r"raw_uvcoords|uvcoords|uvfaces|dense_faces|dataset_label_std|.+\.resample_filter"
    return re.compile("|".join((own_mapping, *mouth, *blending, buffers)))


def _unbuilt(name: str, lowest: int, in_resolution: int) -> Iterable[str]:
    """The blocks up to the encoder's lowest resolution, and the fusion after the last."""
    below = "|".join(str(r) for r in block_resolutions(FIRST_RESOLUTION, lowest))
    num_fusions = len(block_resolutions(2 * lowest, in_resolution))
    return (
        rf"{name}\.synthesis\.b({below})\..+",
        rf"{name}\.synthesis\.fusion\.{num_fusions}\..+",
    )


def _check_attribute(name: str, found: Array, wanted: Array) -> None:
    if found.shape != wanted.shape or not np.allclose(found.astype(np.float64), wanted, atol=1e-6):
        raise CheckpointError(
            f"the checkpoint's {name} is {found.tolist()}; the network here has {wanted.tolist()}"
        )
