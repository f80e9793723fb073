"""A checkpoint in forms that other programs read: safetensors with a config, and ONNX."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.model.adapters import AdaptedModel
from trainer.model.network import CANONICAL_FOCAL, FaceModel
from trainer.saved import SavedModel, load_model

WEIGHTS_NAME: Final = "model.safetensors"
CONFIG_NAME: Final = "config.json"
ONNX_NAME: Final = "model.onnx"
PARITY_LIMITS: Final = {"landmarks_px": 0.05, "segmentation": 0.01, "log_depth": 1e-3}
"""Largest difference between the ONNX file and the model that passes: pixels of the input, logits,
log metres."""
_OPSET: Final = 18
_NUM_CHECKED: Final = 2


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: in the output folder.
        parity: output -> largest difference found between ONNX and the model.
    """

    files: tuple[Path, ...]
    parity: dict[str, float]


class ExportError(ValueError):
    """The exported file does not answer as the model does."""


class _Flat(nn.Module):
    """The model with plain tensors out: what ONNX names."""

    def __init__(self, saved: SavedModel) -> None:
        super().__init__()
        self.model, self.size_px = saved.model, saved.size_px
        self.names = _outputs(saved)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return what `names` lists of uint8 pictures (B, 3, S, S)."""
        out = self.model(image)
        found: dict[str, Tensor] = {}
        if out.landmarks is not None:
            found["landmarks_px"] = out.landmarks.xy * self.size_px
            found["spread_px"] = out.landmarks.log_spread.exp() * self.size_px
        if out.segmentation is not None:
            found["segmentation"] = out.segmentation
        if out.log_depth is not None:
            found["log_depth"] = out.log_depth
        return tuple(found[name] for name in self.names)


def export_model(checkpoint: Path, out_dir: Path, *, onnx: bool = True) -> Exported:
    """Write the averaged weights and a config; and an ONNX file that was run against the model.

    Args:
        checkpoint: of stage I or II.
        out_dir: gets `model.safetensors`, `config.json` and `model.onnx`.
        onnx: whether to write the last, which needs the `export` extra.

    Raises:
        ExportError: the ONNX file's answers differ from the model's; it is not kept.
        CheckpointError: the checkpoint is none of ours.
    """
    from safetensors.torch import save  # noqa: PLC0415 - of the `export` extra

    saved = load_model(checkpoint)
    out_dir.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in saved.model.state_dict().items()}
    (out_dir / WEIGHTS_NAME).write_bytes(save(weights, metadata={"format": "pt"}))
    (out_dir / CONFIG_NAME).write_text(json.dumps(_config(saved), indent=1) + "\n")
    files = [out_dir / WEIGHTS_NAME, out_dir / CONFIG_NAME]
    parity: dict[str, float] = {}
    if onnx:
        parity = _write_onnx(saved, out_dir / ONNX_NAME)
        files.append(out_dir / ONNX_NAME)
    return Exported(tuple(files), parity)


def _config(saved: SavedModel) -> dict[str, Any]:
    """Return all that a program needs to feed the model and to read its answers."""
    adapted = saved.model if isinstance(saved.model, AdaptedModel) else None
    model = saved.model if adapted is None else adapted.base
    if not isinstance(model, FaceModel):
        raise TypeError(f"there is no form for a {type(model).__name__}")
    return {
        "input": {
            "name": "image",
            "dtype": "uint8",
            "shape": ["batch", 3, saved.size_px, saved.size_px],
            "colours": "RGB",
        },
        "outputs": _outputs(saved),
        "stage": saved.stage,
        "trained_on": saved.trained_on,
        "points": None if saved.points is None else saved.points.name,
        "classes": None if saved.classes is None else list(saved.classes.names),
        "canonical_focal": CANONICAL_FOCAL,
        "model": json.loads(model.config.to_json()),
        "adapter": None if adapted is None else asdict(adapted.config),
    }


def _outputs(saved: SavedModel) -> list[str]:
    names = ["landmarks_px", "spread_px"] if saved.points is not None else []
    names += ["segmentation"] if saved.classes is not None else []
    return names + (["log_depth"] if saved.has_depth else [])


def _write_onnx(saved: SavedModel, path: Path) -> dict[str, float]:
    flat = _Flat(saved).eval()
    random = np.random.default_rng(0)
    shape = (_NUM_CHECKED, 3, saved.size_px, saved.size_px)
    pictures = random.integers(0, 256, shape, dtype=np.uint8)
    with _quiet_exporter():
        _export(flat, path, pictures)
    parity = _differences(flat, path, pictures)
    for name, limit in PARITY_LIMITS.items():
        if parity.get(name, 0.0) > limit:
            path.unlink()
            raise ExportError(f"ONNX: {name} differs by {parity[name]:.3g}, above {limit:g}")
    return parity


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep what PyTorch's exporter says of its own insides from the user."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(before)


def _export(flat: _Flat, path: Path, pictures: NDArray[np.uint8]) -> None:
    torch.onnx.export(
        flat,
        (torch.from_numpy(pictures),),
        str(path),
        input_names=["image"],
        output_names=flat.names,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        opset_version=_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _differences(flat: _Flat, path: Path, pictures: NDArray[np.uint8]) -> dict[str, float]:
    """Run both on pictures, also one at a time: the batch's size is free."""
    import onnxruntime  # noqa: PLC0415 - of the `export` extra

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        ours = [tensor.numpy() for tensor in flat(torch.from_numpy(pictures))]
    theirs = session.run(flat.names, {"image": pictures})
    single = session.run(flat.names, {"image": pictures[:1]})
    return {
        name: float(max(np.abs(a - b).max(), np.abs(a[:1] - c).max()))
        for name, a, b, c in zip(flat.names, ours, theirs, single, strict=True)
    }
