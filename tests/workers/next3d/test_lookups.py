"""What is read from planes and images the fast way is what the plain way reads."""

from __future__ import annotations

import os
import subprocess
import sys

import torch
from torch.nn import functional

from workers.generators.next3d.plane_lookup import ray_features
from workers.generators.next3d.planes import PLANE_COORDINATES, mean_features, plane_table
from workers.generators.next3d.resampling import fir_filter, upfirdn2d, upsample2d

SIDE = 16


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def test_the_kernel_reads_along_rays_what_torch_reads_at_points() -> None:
    table = plane_table(random(2, 3, 8, SIDE, SIDE))
    origins, directions = random(2, 5, 3) * 0.3, functional.normalize(random(2, 5, 3), dim=-1)
    depths = torch.linspace(-1.5, 1.5, 40).expand(2, 5, 40).contiguous()  # far outside, too

    along = ray_features(table, origins, directions, depths, resolution=SIDE, box_side=1.2)

    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
    at = mean_features(table, points.flatten(1, 2), SIDE, 1.2)
    torch.testing.assert_close(along, at, rtol=0, atol=2e-6)
    assert (at == 0).all(-1).any()
    assert (at != 0).any()


def test_a_table_holds_each_plane_as_published() -> None:
    planes, points = random(1, 3, 8, SIDE, SIDE), random(1, 50, 3) * 0.5

    read = mean_features(plane_table(planes), points, SIDE, 1.0)

    seen = [
        functional.grid_sample(
            planes[:, plane], 2 * points[:, None][..., axes], align_corners=False
        )
        for plane, axes in enumerate(map(list, PLANE_COORDINATES))
    ]
    mean = torch.stack(seen).mean(0)[:, :, 0].mT
    torch.testing.assert_close(read, mean, rtol=0, atol=2e-6)


def test_doubling_is_the_filter_over_inserted_zeros() -> None:
    image = random(2, 3, 6, 9)

    slow = upfirdn2d(image, fir_filter(), up=2, padding=(2, 1, 2, 1), gain=4.0)

    torch.testing.assert_close(upsample2d(image), slow, rtol=0, atol=2e-6)


def test_large_tensors_lie_in_huge_pages_unless_the_operator_says_otherwise() -> None:
    def told(**given: str) -> str:
        name = "THP_MEM_ALLOC_ENABLE"
        others = {key: value for key, value in os.environ.items() if key != name}
        code = f"import os, workers; print(os.environ[{name!r}])"
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env=others | given, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert told() == "1"
    assert told(THP_MEM_ALLOC_ENABLE="0") == "0"
