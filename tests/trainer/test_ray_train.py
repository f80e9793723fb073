"""Stage I on two processes of a real Ray cluster: equal to one process, and not to be stopped."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainer.augment import AugmentConfig
from trainer.loop import LoopConfig, StepReport
from trainer.model.backbone import BackboneConfig
from trainer.model.network import ModelConfig
from trainer.order import OrderConfig
from trainer.ray_train import ClusterOptions, _Board, _connected, _watched, run_stage1_on_ray
from trainer.recipes import Stage1Recipe
from trainer.stages import Stage1Options, run_stage1
from trainer.stream import StreamConfig

NUM_STEPS = 40
OPTIONS = Stage1Options(
    recipe=Stage1Recipe(
        size_px=16,
        model=ModelConfig(
            BackboneConfig(stem_stride=2, channels=(8, 16), blocks=(1, 1), features=16)
        ),
        stream=StreamConfig(batch_size=6, order=OrderConfig(seed=1), threads=1),
        augment=AugmentConfig(size_px=16),
        loop=LoopConfig(steps=NUM_STEPS, warmup_steps=4, accumulate=2),
        checkpoint_steps=4,
    )
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster for all tests here: the start of processes is most of their time.

    Ray looks after them ten times as often as by default, and has no process that waits for a cloud
    to take a machine away.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        with _connected(ClusterOptions(workers=2)):
            yield


def curve(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [(entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


@pytest.mark.timeout(900)  # a dozen processes start, each in a minute where others keep it busy
def test_two_processes_follow_one_and_survive_a_kill(
    made: Any, cluster: None, tmp_path: Path
) -> None:
    url = str(made.folder)
    alone = run_stage1(url, tmp_path / "alone", OPTIONS)
    started: list[dict[int, int]] = []
    killed: list[int] = []

    def watch(report: StepReport) -> None:
        if report.step >= 6 and not killed:  # a second kill would find no process
            killed.append(started[0][1])
            os.kill(killed[0], signal.SIGKILL)

    together = run_stage1_on_ray(
        url, tmp_path / "together", OPTIONS, ClusterOptions(workers=2), watch, started.append
    )
    assert len(started) == 2, "the killed process was replaced once"
    assert started[1][1] != killed[0]
    assert together.num_steps == alone.num_steps == NUM_STEPS
    one, two = curve(tmp_path / "alone"), curve(tmp_path / "together")
    assert [step for step, _ in two] == list(range(1, NUM_STEPS + 1))
    assert [loss for _, loss in two] == pytest.approx([loss for _, loss in one], rel=1e-4, abs=1e-4)
    assert together.figures.landmarks is not None
    assert alone.figures.landmarks is not None
    assert together.figures.landmarks.nme == pytest.approx(alone.figures.landmarks.nme, rel=1e-2)


def test_an_error_of_the_one_who_watches_is_told_at_the_end(cluster: None) -> None:
    import ray  # noqa: PLC0415 - the cluster's fixture sets what it reads when it is imported

    board = ray.remote(num_cpus=0)(_Board).remote()
    board.add.remote(StepReport(1, 2, 1.0, {}, 1e-3, 8.0, 0.0, 8))
    told = threading.Event()
    done: list[str] = []

    def fail(report: StepReport) -> None:
        told.set()
        raise OSError(f"the terminal is gone at step {report.step}")

    def train() -> None:
        with _watched(board, fail, None):
            assert told.wait(60)
            done.append("trained")

    with pytest.raises(OSError, match="the terminal is gone at step 1"):
        train()
    assert done == ["trained"], "what is watched goes on to its end"


def test_an_error_of_a_process_is_told_in_one_line(
    made: Any, cluster: None, tmp_path: Path
) -> None:
    options = replace(OPTIONS, held_out_split="test")
    with pytest.raises(RuntimeError, match="split 'test' is not in the dataset"):
        run_stage1_on_ray(
            str(made.folder), tmp_path, options, ClusterOptions(workers=1, most_failures=0)
        )


def test_several_machines_need_a_cluster() -> None:
    with pytest.raises(ValueError, match="nodes is 2: give the address"):
        ClusterOptions(nodes=2)
