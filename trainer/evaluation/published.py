"""Published rows of the benchmarks, for beside ours: percent, as printed in the sources.

Their crops, training sets and sizes differ from each other's; the protocol is that of each paper.
Rows that SynthForge's paper prints of others are quoted from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SYNTHFORGE: Final = "SynthForge (arXiv 2406.07840)"


@dataclass(frozen=True)
class PublishedRow:
    """One method on one benchmark.

    Attributes:
        method: as its paper names it.
        source: where the figures were read.
        values: figure -> percent; the names are those of our own tables.
    """

    method: str
    source: str
    values: dict[str, float]


def _nme(method: str, source: str, common: float, challenging: float, full: float) -> PublishedRow:
    values = {"NME common": common, "NME challenging": challenging, "NME full": full}
    return PublishedRow(method, source, values)


_LAPA_CLASSES: Final = (
    *("skin", "hair", "left_eye", "right_eye", "upper_lip", "inner_mouth", "lower_lip", "nose"),
    *("left_brow", "right_brow"),
)
_CELEBA_CLASSES: Final = (
    *("skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow"),
    *("left_ear", "right_ear", "inner_mouth", "upper_lip", "lower_lip", "hair", "neck"),
)


def _f1(
    method: str, classes: tuple[str, ...], scores: tuple[float, ...], protocol: str, mean: float
) -> PublishedRow:
    each = {f"F1 {name}": score for name, score in zip(classes, scores, strict=True)}
    return PublishedRow(method, f"{SYNTHFORGE}, tables 2 and 3", {f"F1 {protocol}": mean} | each)


# The paper prints no full column: (554 common + 135 challenging) / 689 where it is the source.
PUBLISHED: Final[dict[str, tuple[PublishedRow, ...]]] = {
    "300w": (
        _nme("SynthForge, synthetic alone", f"{SYNTHFORGE}, table 1", 5.74, 9.30, 6.44),
        _nme("SynthForge, fine-tuned labels", f"{SYNTHFORGE}, table 1", 3.01, 4.96, 3.39),
        _nme("SynthForge, with f_s", f"{SYNTHFORGE}, table 1", 2.90, 4.74, 3.26),
        _nme("Wood 2021, synthetic alone", f"{SYNTHFORGE}, table 1", 5.61, 8.43, 6.16),
        _nme("Wood 2021, label adaptation", "Wood et al., ICCV 2021", 3.09, 4.86, 3.44),
        _nme("HRNet", "STAR's table", 2.87, 5.15, 3.32),
        _nme("FaRL-B", f"{SYNTHFORGE}, table 1", 2.50, 4.42, 2.88),
        _nme("STAR", "its own table", 2.52, 4.32, 2.87),
    ),
    "lapa": (
        _f1(
            "SynthForge, fine-tuned labels",
            _LAPA_CLASSES,
            (96.80, 94.30, 88.60, 88.60, 84.43, 87.97, 87.13, 96.16, 87.64, 88.62),
            "mean of 10",
            90.03,
        ),
        _f1(
            "Wood 2021, label adaptation",
            _LAPA_CLASSES,
            (97.1, 85.7, 90.6, 90.1, 85.9, 88.8, 88.4, 96.7, 88.6, 88.5),
            "mean of 10",
            90.1,
        ),
        _f1(
            "FaRL-B",
            _LAPA_CLASSES,
            (98.00, 96.52, 93.97, 93.91, 90.15, 91.74, 91.21, 97.92, 92.70, 92.65),
            "mean of 10",
            93.88,
        ),
        PublishedRow("SegFace", "arXiv 2412.08647", {"F1 mean of 10": 93.03}),
    ),
    "celebamask": (
        _f1(
            "SynthForge, with f_s",
            _CELEBA_CLASSES,
            (
                *(95.6, 93.0, 89.13, 86.61, 86.32, 83.75, 83.61, 84.88, 84.57, 89.04),
                *(85.85, 88.34, 94.03, 89.36),
            ),
            "mean of 14",
            88.15,
        ),
        _f1(
            "FaRL-B",
            _CELEBA_CLASSES,
            (
                *(96.29, 93.72, 93.91, 88.75, 88.64, 85.24, 85.46, 87.06, 87.36, 90.96),
                *(87.53, 89.81, 95.60, 91.54),
            ),
            "mean of 14",
            90.13,
        ),
        PublishedRow("FaRL-B", "its repository", {"F1 mean of 18": 89.65}),
        PublishedRow("SegFace", "arXiv 2412.08647", {"F1 mean of 18": 88.96}),
    ),
    "wflw": (PublishedRow("STAR", "its own table", {"NME test": 4.02}),),
}
