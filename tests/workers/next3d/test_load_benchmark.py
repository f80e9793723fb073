"""The benchmark of loading, on a small network: its file is the released format."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.next3d_load import INIT_KWARGS, TINY
from benchmarks.official_file import released_shapes, write_official
from workers.generators.next3d.checkpoint import Next3DWeights, expected_shapes
from workers.generators.next3d.config import Next3DConfig
from workers.generators.next3d.official_pickle import read_official_checkpoint

RELEASED_PARAMETERS = 172_815_807  # next3d_ffhq_512, counted on the published code


def test_the_full_size_is_the_released_one() -> None:
    shapes = released_shapes(Next3DConfig())
    buffers = ("noise_const", "w_avg")
    parameters = [shape for name, shape in shapes.items() if not name.endswith(buffers)]
    assert sum(math.prod(shape) for shape in parameters) == RELEASED_PARAMETERS


def test_a_written_file_reads_as_a_released_one(tmp_path: Path) -> None:
    kwargs = INIT_KWARGS | TINY
    config = Next3DConfig.from_init_kwargs(kwargs, neural_resolution=64)
    write_official(tmp_path / "some.pkl", config, init_kwargs=kwargs)
    official = read_official_checkpoint(tmp_path / "some.pkl")
    weights = Next3DWeights.from_official(official, wiring="front-plane")
    assert weights.config == config
    assert weights.tensors.keys() == expected_shapes(config).keys()
    assert len(official.tensors) > len(weights.tensors)  # what never reaches the output is left out
