"""Two processes take the very steps that one would."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch.distributed

from trainer.augment import AugmentConfig
from trainer.loop import LoopConfig
from trainer.model.backbone import BackboneConfig
from trainer.model.network import ModelConfig
from trainer.order import OrderConfig
from trainer.ranks import ONE_RANK, DistributedRanks, own_ranks
from trainer.recipes import Stage1Recipe, with_learnt_weights
from trainer.stages import Stage1Options, fit_stage1
from trainer.stream import StreamConfig

# An odd batch: one rank gets a sample more, and a filler of weight 0 stands in on the other.
RECIPE = Stage1Recipe(
    size_px=16,
    model=ModelConfig(BackboneConfig(stem_stride=2, channels=(8, 16), blocks=(1, 1), features=16)),
    stream=StreamConfig(batch_size=7, order=OrderConfig(seed=1), threads=1),
    augment=AugmentConfig(size_px=16),
    loop=LoopConfig(steps=12, warmup_steps=4, accumulate=2),
)


def losses(folder: Path) -> list[float]:
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def take_steps(rank: int, num_ranks: int, url: str, folder: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=num_ranks
    )
    options = Stage1Options(recipe=with_learnt_weights(RECIPE))
    fit_stage1(url, folder / str(rank), options, ranks=own_ranks())
    torch.distributed.destroy_process_group()


def test_two_processes_follow_the_loss_curve_of_one(made: Any, tmp_path: Path) -> None:
    assert own_ranks() is ONE_RANK
    url = str(made.folder)
    fit_stage1(url, tmp_path / "one", Stage1Options(recipe=with_learnt_weights(RECIPE)))
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=take_steps, args=(r, 2, url, tmp_path)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    one, two = losses(tmp_path / "one"), losses(tmp_path / "0")
    assert len(two) == RECIPE.loop.steps
    assert two == pytest.approx(one, rel=1e-4)
    assert not (tmp_path / "1" / "history.jsonl").exists(), "rank 0 alone keeps records"


def test_ranks_need_a_group() -> None:
    with pytest.raises(ValueError, match="process group"):
        DistributedRanks()
