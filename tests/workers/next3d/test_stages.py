"""Every part of Next3D equals what the published code gave, and a wrong number is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.parity.next3d_stages import checks


def test_every_recorded_stage_is_reproduced(shared_dir: Path) -> None:
    found = list(checks(shared_dir / "fixtures" / "next3d" / "stages.npz"))

    assert [str(check) for check in found if not check.is_ok] == []
    assert len(found) >= 100


def test_a_stage_with_a_changed_number_is_not_reproduced(shared_dir: Path, tmp_path: Path) -> None:
    with np.load(shared_dir / "fixtures" / "next3d" / "stages.npz") as recorded:
        arrays = dict(recorded)
    arrays["torgb/y"] = arrays["torgb/y"] + np.float32(1e-3)
    arrays["fill_mouth/y"] = arrays["fill_mouth/y"].copy()
    arrays["fill_mouth/y"][0, 0, 0, 0] += np.float32(0.5)
    np.savez(tmp_path / "stages.npz", **arrays)

    wrong = [check.quantity for check in checks(tmp_path / "stages.npz") if not check.is_ok]

    assert wrong == ["torgb/y", "fill_mouth/y"]
