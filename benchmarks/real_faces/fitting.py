"""Makes the built-in samples and fits a small model to them; what is there already is kept."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.in_process import make_dataset
from benchmarks.real_faces.families import WITHOUT, Family, merged
from synthforge.jobs import parse_job_spec
from synthforge.shards import MANIFEST_NAME, Manifest
from trainer.augment import AugmentConfig
from trainer.checkpoint import load_checkpoint
from trainer.devices import pick_device
from trainer.loop import LoopConfig
from trainer.losses import LossConfig
from trainer.model.backbone import BackboneConfig
from trainer.model.network import FaceModel, ModelConfig
from trainer.order import OrderConfig
from trainer.recipes import Stage1Recipe, stage1_synthetic
from trainer.stages import Stage1Options, run_stage1
from trainer.stream import StreamConfig

SIZE_PX: Final = 128
ModelSize = Literal["small", "full"]
_KEPT_BYTES: Final = 4 << 30
_SMALL: Final = BackboneConfig(
    stem_stride=2, channels=(16, 32, 64, 128, 192), blocks=(1, 1, 2, 3, 2), features=32
)
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
        model: `small`, or `full`: the network of `stage1_synthetic`, in its batches.
    """

    num_samples: int
    num_steps: int
    generator: dict[str, Any]
    without: str = ""
    model: ModelSize = "small"

    @property
    def family(self) -> Family:
        """What is taken away."""
        return WITHOUT[self.without] if self.without else Family()


def make_samples(scale: Scale, folder: Path, processes: int) -> str:
    """Make the dataset of a scale in so many processes; return its folder.

    Raises:
        PlanError: the generator cannot be opened here.
    """
    spec = merged(scale.family.spec) | {"count": scale.num_samples, "generator": scale.generator}
    kind = "-".join(str(value) for value in scale.generator.values())
    name = "-".join(filter(None, (kind, str(scale.num_samples), _if_any(scale))))
    dataset = folder / name
    if not (dataset / MANIFEST_NAME).exists():
        shutil.rmtree(dataset, ignore_errors=True)  # what a run before left half made
        make_dataset(parse_job_spec(json.dumps(spec)), dataset, processes)
    Manifest.model_validate_json((dataset / MANIFEST_NAME).read_bytes())
    return str(dataset)


def _if_any(scale: Scale) -> str:
    """Name the family if it changes the samples, not only how they are trained on."""
    return f"without-{scale.without}" if scale.family.spec else ""


def fit(scale: Scale, dataset: str, seed: int, folder: Path, device: str, loaders: int = 0) -> Path:
    """Fit a model, unless this folder holds it from before; return its checkpoint.

    Args:
        scale: of the fit.
        dataset: folder of the samples.
        seed: of weights and order.
        folder: of models, among them this one.
        device: as `run_stage1` takes it.
        loaders: processes that decode and vary pictures; 0 does so in threads. No result
            depends on it.
    """
    size = "" if scale.model == "small" else scale.model
    parts = (Path(dataset).name, scale.without, size, f"{scale.num_steps}-{seed}")
    out = folder / "models" / "-".join(filter(None, parts))
    options = Stage1Options(recipe=_recipe(scale, seed, loaders), device=device, resume=True)
    return run_stage1(dataset, out, options).checkpoint


def fit_seeds(
    scale: Scale,
    dataset: str,
    num_seeds: int,
    folder: Path,
    device: str,
    loaders: int,
    at_once: int,
) -> list[Path]:
    """Fit a model a seed, so many at once, each in a process of its own if more than one."""
    jobs = [(scale, dataset, seed, folder, device, loaders) for seed in range(num_seeds)]
    if at_once == 1:
        return [fit(*job) for job in jobs]
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        return list(pool.map(fit, *zip(*jobs, strict=True)))


def read_model(scale: Scale, checkpoint: Path, device: str) -> FaceModel:
    """Read the average of a fitted model."""
    model = FaceModel(_recipe(scale, 0).model)
    model.load_state_dict(load_checkpoint(checkpoint)["training"]["average"])
    return model.eval().to(pick_device(device))


def _recipe(scale: Scale, seed: int, loaders: int = 0) -> Stage1Recipe:
    large = stage1_synthetic(seed)
    is_full = scale.model == "full"
    return Stage1Recipe(
        size_px=SIZE_PX,
        model=ModelConfig(large.model.backbone if is_full else _SMALL, depth=False),
        stream=StreamConfig(
            batch_size=large.stream.batch_size if is_full else 32,
            workers=loaders,
            threads=1 if loaders else 2,
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
            learning_rate=large.loop.learning_rate if is_full else 3e-3,
            warmup_steps=50,
            second_beta=0.98,
            ema_decay=0.99,
            bf16=True,
        ),
    )
