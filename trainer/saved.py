"""Models on disk: what a checkpoint of either stage holds, and how it is opened again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from torch import nn

from trainer.checkpoint import CheckpointError, load_checkpoint
from trainer.datasets.classes import CLASS_SCHEMES, OURS, ClassScheme
from trainer.datasets.points import IBUG_68, POINT_SCHEMES, PointScheme
from trainer.model.adapters import AdaptedModel, AdapterConfig
from trainer.model.network import FaceModel, ModelConfig

Method = Literal["adapt", "finetune", "scratch"]
METHODS: Final[tuple[Method, ...]] = Method.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class SavedModel:
    """A model and what its answers mean.

    Attributes:
        model: in evaluation mode; `Predictions` of (B, 3, size_px, size_px) uint8.
        size_px: side of its input.
        stage: 1 or 2.
        trained_on: name of the real set, or "" for stage I.
        points: order of its landmarks, None without such a head; so too `classes`.
        classes: table of its classes.
        has_depth: whether it predicts depth.
    """

    model: nn.Module
    size_px: int
    stage: int
    trained_on: str
    points: PointScheme | None
    classes: ClassScheme | None
    has_depth: bool


def load_model(path: Path) -> SavedModel:
    """Open the averaged weights of a checkpoint of stage I or II; adapted backbones are folded.

    Raises:
        CheckpointError: it is no checkpoint of ours, or not of a model.
        FileNotFoundError: there is no such file.
    """
    content = load_checkpoint(path)
    try:
        return _model_of(content)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:160]
        raise CheckpointError(f"{path.name} holds no model of this release: {reason}") from error


def describe_model(
    stage: int,
    size_px: int,
    config: ModelConfig,
    *,
    trained_on: str = "",
    points: str = IBUG_68.name,
    classes: str = OURS.name,
    adapter: AdapterConfig | None = None,
) -> dict[str, Any]:
    """Return the fields of a checkpoint that say how its weights are opened again."""
    return {
        "stage": stage,
        "size_px": size_px,
        "model_config": config.to_json(),
        "adapter_config": "" if adapter is None else json.dumps(asdict(adapter)),
        "trained_on": trained_on,
        "points": points,
        "classes": classes,
    }


def _model_of(content: dict[str, Any]) -> SavedModel:
    config = ModelConfig.from_json(content["model_config"])
    base = FaceModel(config)
    model: nn.Module = base
    state = content["training"]["average"]
    if content.get("adapter_config"):
        adapted = AdaptedModel(base, AdapterConfig(**json.loads(content["adapter_config"])))
        adapted.load_state_dict(state)
        model = adapted.fold()
    else:
        model.load_state_dict(state)
    return SavedModel(
        model=model.eval().requires_grad_(False),
        size_px=int(content["size_px"]),
        stage=int(content["stage"]),
        trained_on=str(content.get("trained_on", "")),
        points=POINT_SCHEMES[content.get("points", IBUG_68.name)] if config.landmarks else None,
        classes=CLASS_SCHEMES[content.get("classes", OURS.name)] if config.segmentation else None,
        has_depth=config.depth,
    )
