"""A stream's filters reach what a synthetic face knows of itself."""

from __future__ import annotations

import pytest

from synthforge.samples import OcclusionMeta, SampleMeta
from trainer.filters import Filter


def test_filters_reach_movements_and_hidden_classes() -> None:
    meta = SampleMeta(
        index=0, identity=0, split="train", attempt=0, width=8, height=8, quality={},
        action_units={"smile_left": 0.7},
        occlusion=OcclusionMeta(whole_px={"left_eye": 10}, hidden={"left_eye": 0.4}),
    )  # fmt: skip
    assert Filter("action_units.smile_left", low=0.5).keeps(meta)
    assert not Filter("occlusion.hidden.left_eye", high=0.3).keeps(meta)
    with pytest.raises(ValueError, match="attributes"):
        Filter("attributes.skin_ita_deg", low=0).keeps(meta)
