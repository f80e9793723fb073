"""Backbones of the `transformers` library: an encoder of its own shape, our decoder on top.

Weights come from a local folder, or are drawn at random; nothing is ever downloaded. The shape of
the encoder is part of the model's configuration, so that a checkpoint opens without the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.model.backbone import ConvNorm

# Of the pictures that such encoders were fitted to, in shares of full brightness (ImageNet).
_MEAN: Final = (0.485, 0.456, 0.406)
_SPREAD: Final = (0.229, 0.224, 0.225)
_STEM_STRIDE: Final = 4
CONFIG_NAME: Final = "config.json"


@dataclass(frozen=True)
class PretrainedConfig:
    """An encoder whose levels halve their maps from a quarter of the picture's size on.

    Attributes:
        encoder: JSON of the encoder's own configuration, with `model_type` (resnet, convnext,
            convnextv2, swin, ...).
        features: channels of f_s.
        num_levels: of the encoder.
        coarse_features: channels of its last level.
        kind: tells the configurations of backbones apart where they are stored.
    """

    encoder: str
    features: int
    num_levels: int
    coarse_features: int
    kind: Literal["pretrained"] = "pretrained"

    @property
    def stem_stride(self) -> int:
        """Features have a quarter of the picture's side."""
        return _STEM_STRIDE

    @property
    def stride(self) -> int:
        """What a picture's side must be a multiple of."""
        return _STEM_STRIDE << (self.num_levels - 1)


def pretrained_config(source: str, features: int = 64) -> PretrainedConfig:
    """Return the configuration of a model in a local folder, or of an architecture's default form.

    Args:
        source: folder with a `config.json`, or the name of an architecture (`convnext`).
        features: channels of f_s.

    Raises:
        ValueError: neither is known, or the encoder does not halve its maps level by level.
    """
    from transformers import AutoConfig  # noqa: PLC0415

    folder = Path(source)
    if folder.is_dir():
        if not (folder / CONFIG_NAME).is_file():
            raise ValueError(f"backbone {source}: the folder holds no {CONFIG_NAME}")
        settings = json.loads((folder / CONFIG_NAME).read_text())
    else:
        settings = {"model_type": source}
    try:
        config = AutoConfig.for_model(**_without_code(settings))
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"backbone {source!r}: a folder with {CONFIG_NAME}, or an architecture (resnet, "
            "convnext, swin) would do; nothing is downloaded"
        ) from error
    encoder = json.dumps(config.to_dict(), sort_keys=True)
    channels = list(_encoder(encoder).channels)
    return PretrainedConfig(encoder, features, len(channels), channels[-1])


def load_weights(backbone: PretrainedBackbone, folder: Path) -> None:
    """Fill the encoder with the weights of a local folder; only safetensors are read.

    Raises:
        ValueError: the folder holds no such weights.
    """
    try:
        backbone.encoder.load_state_dict(_weights_of(folder, backbone.config.encoder))
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"backbone weights of {folder}: {reason}") from error


class PretrainedBackbone(nn.Module):
    """An encoder of `transformers`, additive decoder (Lin et al., CVPR 2017)."""

    mean: Tensor
    spread: Tensor

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _encoder(config.encoder)
        channels = list(self.encoder.channels)
        self.laterals = nn.ModuleList(nn.Conv2d(each, config.features, 1) for each in channels)
        self.merges = nn.ModuleList(
            ConvNorm(config.features, config.features) for _ in pairwise(channels)
        )
        self.last = ConvNorm(config.features, config.features)
        for name, values in (("mean", _MEAN), ("spread", _SPREAD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_s and the last level of pictures in [-1, 1]; as `CompactBackbone`."""
        levels = self.encoder((image * 0.5 + 0.5 - self.mean) / self.spread).feature_maps
        merged = self.laterals[-1](levels[-1])
        for lateral, merge, fine in zip(
            reversed(self.laterals[:-1]), reversed(self.merges), reversed(levels[:-1]), strict=True
        ):
            coarse = functional.interpolate(merge(merged), scale_factor=2.0, mode="nearest")
            merged = functional.relu(lateral(fine) + coarse)
        return functional.relu(self.last(merged)), levels[-1]


def _encoder(text: str) -> Any:
    """Return an encoder with random weights that gives its levels from stride 4 on."""
    from transformers import AutoBackbone, AutoConfig  # noqa: PLC0415

    settings = json.loads(text)
    config = AutoConfig.for_model(**settings)
    names = [name for name in config.stage_names if name != "stem"]
    config.out_features = names
    try:
        encoder = AutoBackbone.from_config(config)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"backbone {config.model_type!r} gives no levels; resnet, convnext, swin do"
        ) from error
    with torch.no_grad():
        side = _STEM_STRIDE << len(names)
        maps = encoder.eval()(torch.zeros(1, 3, side, side)).feature_maps
    strides = [side // each.shape[-1] for each in maps]
    if strides != [_STEM_STRIDE << level for level in range(len(maps))]:
        raise ValueError(
            f"backbone {config.model_type!r} has strides {strides}; 4, 8, 16, ... would do"
        )
    return encoder.train()


def _weights_of(folder: Path, text: str) -> dict[str, Tensor]:
    """Return the state of the encoder that a folder holds."""
    encoder = _encoder(text)
    loaded, found = type(encoder).from_pretrained(
        str(folder),
        config=encoder.config,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    # The norms that a backbone adds to its levels are in no file.
    missing = sorted(name for name in found["missing_keys"] if "norm" not in name)
    if missing:
        raise ValueError(f"{len(missing)} weights are not there, {missing[0]} first")
    state: dict[str, Tensor] = loaded.state_dict()
    return state


def _without_code(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what names other files or code."""
    foreign = {"auto_map", "_name_or_path", "transformers_version", "architectures"}
    return {name: value for name, value in settings.items() if name not in foreign}
