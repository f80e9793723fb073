"""Stage I on several processes and machines: Ray Train starts them and replaces those that die.

Each process runs the same `fit_stage1` as one alone would, on its part of every batch. Rank 0 keeps
the checkpoints; a process that dies takes all back to the last one, and they go on from there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from synthforge.ray_environment import prepare_environment, signals_kept
from trainer.checkpoint import refuse_to_replace
from trainer.history import HISTORY_NAME
from trainer.loop import StepReport
from trainer.ranks import own_ranks
from trainer.stages import (
    CHECKPOINT_NAME,
    METRICS_NAME,
    REPORT_NAME,
    Stage1Options,
    Stage1Result,
    fit_stage1,
    measure_stage1,
)

_RUN_NAME: Final = "ray"  # folder of the run's own state under the storage
_SHARED_NAME: Final = "ray-resumed"  # and of the checkpoint that a resumed run begins with
_LOOK_EVERY_S: Final = 0.25
_OBJECT_STORE_BYTES: Final = 128 << 20  # options and reports travel through it, no pictures


@dataclass(frozen=True)
class ClusterOptions:
    """Which processes train.

    Attributes:
        workers: processes on each machine; one a GPU where there are any.
        nodes: machines.
        gpus: whether each process holds a GPU.
        address: of a running cluster; None starts one on this machine for the length of the run.
        storage: folder or URL that every machine reaches, for checkpoints; None is the output
            folder, which does for one machine.
        most_failures: deaths of a process that are made good.
    """

    workers: int = 2
    nodes: int = 1
    gpus: bool = False
    address: str | None = None
    storage: str | None = None
    most_failures: int = 3

    def __post_init__(self) -> None:
        for name in ("workers", "nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 would do")
        if self.nodes > 1 and self.address is None:
            raise ValueError(f"nodes is {self.nodes}: give the address of their Ray cluster")


def run_stage1_on_ray(
    data_url: str,
    out_dir: Path,
    options: Stage1Options,
    cluster: ClusterOptions,
    on_progress: Callable[[StepReport], None] | None = None,
    on_started: Callable[[dict[int, int]], None] | None = None,
) -> Stage1Result:
    """Do what `run_stage1` does, on the processes of a Ray cluster.

    Args:
        data_url: of the dataset; every machine must reach it.
        out_dir: gets what `run_stage1` leaves.
        options: recipe, splits; the device is the one that Ray gives.
        cluster: which processes.
        on_progress: called after every step, with a delay.
        on_started: called with rank -> process id whenever processes have started.

    Raises:
        RuntimeError: the processes failed more often than `most_failures`.
        ValueError: as of `run_stage1`.
    """
    refuse_to_replace(out_dir / CHECKPOINT_NAME, resume=options.resume)
    storage = cluster.storage or str(out_dir.resolve())
    if not options.resume:
        shutil.rmtree(out_dir / _RUN_NAME, ignore_errors=True)
    with _connected(cluster):
        import ray  # noqa: PLC0415

        board = ray.remote(num_cpus=0)(_Board).remote()
        config = {"data_url": data_url, "options": options, "board": board, "saved": None}
        if options.resume and (out_dir / CHECKPOINT_NAME).exists():
            config["saved"] = _shared_checkpoint(out_dir, storage)
        with _watched(board, on_progress, on_started):
            _run(config, cluster, storage).to_directory(out_dir)
        result: Stage1Result = ray.get(board.result.remote())
    return replace(
        result,
        checkpoint=out_dir / CHECKPOINT_NAME,
        metrics=out_dir / METRICS_NAME,
        report=out_dir / REPORT_NAME,
    )


def _shared_checkpoint(out_dir: Path, storage: str) -> Any:
    """Put what a run goes on from where every machine finds it: checkpoint and history alone."""
    import ray.train  # noqa: PLC0415
    from pyarrow import fs  # noqa: PLC0415

    files, path = fs.FileSystem.from_uri(storage)
    folder = f"{path}/{_SHARED_NAME}"
    files.create_dir(folder)
    for name in (CHECKPOINT_NAME, HISTORY_NAME):
        if (out_dir / name).exists():
            source, target = str((out_dir / name).resolve()), f"{folder}/{name}"
            fs.copy_files(source, target, fs.LocalFileSystem(), files)
    return ray.train.Checkpoint(folder, filesystem=files)


def _run(config: dict[str, Any], cluster: ClusterOptions, storage: str) -> Any:
    """Run the processes to the end; return the last checkpoint that Ray keeps."""
    import ray.train  # noqa: PLC0415
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig  # noqa: PLC0415
    from ray.train.torch import TorchTrainer  # noqa: PLC0415

    trainer = TorchTrainer(
        _train_rank,
        train_loop_config=config,
        scaling_config=ScalingConfig(
            num_workers=cluster.workers * cluster.nodes,
            use_gpu=cluster.gpus,
            placement_strategy="SPREAD" if cluster.nodes > 1 else "PACK",
        ),
        run_config=RunConfig(
            name=_RUN_NAME,
            storage_path=storage,
            failure_config=FailureConfig(max_failures=cluster.most_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Ray of its own defaults
            return trainer.fit().checkpoint
    except ray.train.TrainingFailedError as error:
        raise RuntimeError(_first_cause(error)) from error


def _train_rank(config: dict[str, Any]) -> None:
    """What each process runs."""
    import ray  # noqa: PLC0415
    import ray.train  # noqa: PLC0415
    import ray.train.torch  # noqa: PLC0415

    ranks, board = own_ranks(), config["board"]
    ray.get(board.arrive.remote(ranks.rank, ranks.num_ranks, os.getpid()))
    device = ray.train.torch.get_device()
    with tempfile.TemporaryDirectory(prefix="synthforge-rank-") as name:
        folder = Path(name)
        saved = ray.train.get_checkpoint() or config["saved"]
        if saved is not None:
            saved.to_directory(folder)
        options = replace(config["options"], device=str(device), resume=saved is not None)

        def keep(report: StepReport) -> None:
            """Hand the folder of rank 0 to Ray, which waits for all ranks here."""
            if report.step < report.num_steps:
                _report(folder, report.step, is_kept=ranks.rank == 0)

        def tell(report: StepReport) -> None:
            if ranks.rank == 0:
                board.add.remote(report)

        fitted = fit_stage1(config["data_url"], folder, options, tell, keep, ranks)
        if ranks.rank == 0:
            result = measure_stage1(config["data_url"], folder, options, fitted)
            ray.get(board.finish.remote(result))
        _report(folder, fitted.training.step, is_kept=ranks.rank == 0)


def _report(folder: Path, step: int, *, is_kept: bool) -> None:
    import ray.train  # noqa: PLC0415

    checkpoint = ray.train.Checkpoint.from_directory(str(folder)) if is_kept else None
    ray.train.report({"step": step}, checkpoint=checkpoint)


class _Board:
    """An actor on which rank 0 writes what the driver shows."""

    def __init__(self) -> None:
        self._reports: list[StepReport] = []
        self._processes: dict[int, int] = {}
        self._fresh: list[dict[int, int]] = []

    def arrive(self, rank: int, num_ranks: int, process: int) -> None:
        """Note a process that has started; once all have, the driver is told."""
        self._processes[rank] = process
        if len(self._processes) == num_ranks:
            self._fresh.append(self._processes)
            self._processes = {}

    def add(self, report: StepReport) -> None:
        """Note a step."""
        self._reports.append(report)

    def finish(self, result: Stage1Result) -> None:
        """Note what the run left."""
        self._result = result

    def result(self) -> Stage1Result:
        """Return it."""
        return self._result

    def take(self) -> tuple[list[dict[int, int]], list[StepReport]]:
        """Return what came since the last call."""
        fresh, self._fresh = self._fresh, []
        reports, self._reports = self._reports, []
        return fresh, reports


@contextmanager
def _watched(
    board: Any,
    on_progress: Callable[[StepReport], None] | None,
    on_started: Callable[[dict[int, int]], None] | None,
) -> Iterator[None]:
    """Pass on what the board says for the length of the block, and what is left at its end.

    An error of a callback ends the passing on, not the block; it is raised at the end.
    """
    import ray  # noqa: PLC0415

    done = threading.Event()
    errors: list[Exception] = []

    def look() -> None:
        started, reports = ray.get(board.take.remote())
        for processes in started if on_started else ():
            on_started(processes)  # type: ignore[misc]
        for report in reports if on_progress else ():
            on_progress(report)  # type: ignore[misc]

    def keep_looking() -> None:
        try:
            while not done.wait(_LOOK_EVERY_S):
                look()
        except Exception as error:  # a thread has nobody to raise to
            errors.append(error)

    thread = threading.Thread(target=keep_looking, name="progress")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if errors:
        raise errors[0]
    look()


@contextmanager
def _connected(cluster: ClusterOptions) -> Iterator[None]:
    """Hold a connection to a cluster; one that this process has already is used and left alone."""
    prepare_environment(cluster.address)
    import ray  # noqa: PLC0415 - reads the environment when it is imported

    if ray.is_initialized():
        yield
        return
    with signals_kept():
        if cluster.address is None:
            ray.init(
                address="local",  # not a cluster that happens to run on this machine
                num_cpus=cluster.workers,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level="WARNING",
                _node_ip_address="127.0.0.1",
            )
        else:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="WARNING")
    try:
        yield
    finally:
        ray.shutdown()


def _first_cause(error: BaseException) -> str:
    """Return the line of an error of a process that says what went wrong."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"training failed: {lines[-1] if lines else type(error).__name__}"
