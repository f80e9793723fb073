"""Scalars and pictures of a fit for TensorBoard; the extra `tensorboard` brings its writer."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trainer.loop import StepReport

FOLDER_NAME = "tensorboard"


class TensorboardLog:
    """Event files in a folder.

    Args:
        folder: where they lie; a fit that goes on writes beside what is there.
        step: from which steps are written; what an earlier run wrote beyond it is hidden.

    Raises:
        ModuleNotFoundError: the package tensorboard is missing.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._writer.close()

    def add_step(self, report: StepReport) -> None:
        """Write loss, terms, rate and times of one step."""
        scalars = {
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "time/step_s": report.step_s,
            "time/wait_s": report.wait_s,
            "time/samples_a_second": report.num_samples / report.step_s,
            **{f"terms/{name}": value for name, value in report.terms.items()},
        }
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, report.step)

    def add_pictures(self, step: int, pictures: list[NDArray[np.uint8]]) -> None:
        """Write (H, W, 3) pictures, one a face."""
        for number, picture in enumerate(pictures):
            self._writer.add_image(f"faces/{number}", picture, step, dataformats="HWC")
