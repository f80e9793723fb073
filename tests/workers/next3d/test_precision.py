"""What a lower precision costs, measured on a network's own pictures."""

from __future__ import annotations

import torch

from workers.assets.precision import SAFE_PSNR_DB, Precision, measure_precisions
from workers.generators.next3d.checkpoint import Next3DWeights


def test_a_lower_precision_is_drawn_and_compared(
    tiny_weights: Next3DWeights, ball_with_landmarks: torch.Tensor
) -> None:
    # Half precision is emulated on a CPU, and slow.
    heads, cpu = ball_with_landmarks[None], torch.device("cpu")
    (found,) = measure_precisions(tiny_weights, heads, cpu, ("bfloat16",))
    assert found.name == "bfloat16"
    assert 10 < found.worst_db < 100


def test_the_worst_picture_decides() -> None:
    assert Precision("float16", (SAFE_PSNR_DB, 60.0)).is_safe
    assert not Precision("float16", (SAFE_PSNR_DB - 0.1, 60.0)).is_safe
