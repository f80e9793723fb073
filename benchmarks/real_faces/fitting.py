"""Makes the built-in samples and fits a small model to them; what is there already is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.real_faces.families import WITHOUT, Family, merged
from synthforge.shards import MANIFEST_NAME, Manifest
from trainer.augment import AugmentConfig
from trainer.checkpoint import load_checkpoint
from trainer.loop import LoopConfig
from trainer.losses import LossConfig
from trainer.model.backbone import BackboneConfig
from trainer.model.network import FaceModel, ModelConfig
from trainer.order import OrderConfig
from trainer.recipes import Stage1Recipe
from trainer.stages import Stage1Options, run_stage1
from trainer.stream import StreamConfig

SIZE_PX: Final = 128
_KEPT_BYTES: Final = 4 << 30
_AUGMENT: Final = AugmentConfig(
    size_px=SIZE_PX,
    shift=0.04,
    rotation_deg=8.0,
    scale=0.12,
    occlusion=0.25,
    blur=0.25,
    low_resolution=0.25,
    colour=0.2,
    gamma=0.25,
    noise=10.0,
    grey=0.1,
    jpeg=0.25,
)


@dataclass(frozen=True)
class Scale:
    """How much is made and fitted.

    Attributes:
        num_samples: of the built-in head.
        num_steps: of the optimiser.
        generator: of the samples, as a job names it.
        without: name of the family taken away, or "".
    """

    num_samples: int
    num_steps: int
    generator: dict[str, Any]
    without: str = ""

    @property
    def family(self) -> Family:
        """What is taken away."""
        return WITHOUT[self.without] if self.without else Family()


def make_samples(scale: Scale, folder: Path) -> str:
    """Make the dataset of a scale with `synthforge generate`; return its folder.

    Raises:
        subprocess.CalledProcessError: the command failed; it has said why.
    """
    spec = merged(scale.family.spec) | {"count": scale.num_samples, "generator": scale.generator}
    kind = "-".join(str(value) for value in scale.generator.values())
    name = "-".join(filter(None, (kind, str(scale.num_samples), _if_any(scale))))
    dataset = folder / name
    manifest = dataset / MANIFEST_NAME
    if not manifest.exists():
        dataset.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "synthforge.cli", "generate", "-"]
        subprocess.run(
            [*command, "--output", str(dataset)], input=json.dumps(spec), text=True, check=True
        )
    Manifest.model_validate_json(manifest.read_bytes())
    return str(dataset)


def _if_any(scale: Scale) -> str:
    """Name the family if it changes the samples, not only how they are trained on."""
    return f"without-{scale.without}" if scale.family.spec else ""


def fit(scale: Scale, dataset: str, seed: int, folder: Path, device: str) -> FaceModel:
    """Fit a model; one that this folder holds from before is read instead."""
    recipe = _recipe(scale, seed)
    name = "-".join(filter(None, (Path(dataset).name, scale.without, f"{scale.num_steps}-{seed}")))
    out = folder / "models" / name
    options = Stage1Options(recipe=recipe, device=device, resume=True)
    result = run_stage1(dataset, out, options)
    average = load_checkpoint(result.checkpoint)["training"]["average"]
    model = FaceModel(recipe.model)
    model.load_state_dict(average)
    return model.eval()


def _recipe(scale: Scale, seed: int) -> Stage1Recipe:
    return Stage1Recipe(
        size_px=SIZE_PX,
        model=ModelConfig(
            BackboneConfig(
                stem_stride=2, channels=(16, 32, 64, 128, 192), blocks=(1, 1, 2, 3, 2), features=32
            ),
            depth=False,
        ),
        stream=StreamConfig(
            batch_size=32,
            fields=("image", "segmentation", "meta"),
            order=OrderConfig(seed=seed),
            drop_last=True,
            keep_decoded_bytes=_KEPT_BYTES,
        ),
        augment=AugmentConfig(**{**asdict(_AUGMENT), **scale.family.augment}),
        loss=LossConfig(
            weights={
                "segmentation": 2.0,
                "segmentation_overlap": 1.0,
                "heatmaps": 4.0,
                "landmarks": 4.0,
                "coarse_landmarks": 2.0,
                "doubt": 0.05,
            }
        ),
        loop=LoopConfig(
            steps=scale.num_steps,
            learning_rate=3e-3,
            warmup_steps=50,
            second_beta=0.98,
            ema_decay=0.99,
            bf16=True,
        ),
    )
