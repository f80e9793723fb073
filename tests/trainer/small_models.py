"""Checkpoints of stage I that were never trained, small enough for tests."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.checkpoint import save_checkpoint
from trainer.model.backbone import BackboneConfig
from trainer.model.network import FaceModel, ModelConfig
from trainer.saved import describe_model

SIZE_PX = 16
CONFIG = ModelConfig(BackboneConfig(stem_stride=2, channels=(8, 16), blocks=(1, 1), features=8))


def tiny_model(seed: int = 0) -> FaceModel:
    """Return a model whose heads say something, though nothing true."""
    torch.manual_seed(seed)
    model = FaceModel(CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def tiny_checkpoint(path: Path) -> Path:
    """Write a checkpoint of stage I."""
    state = {"average": tiny_model().state_dict()}
    save_checkpoint(path, {**describe_model(1, SIZE_PX, CONFIG), "training": state})
    return path
