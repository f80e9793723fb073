"""A checkpoint measured on real sets: `synthforge evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import torch

from trainer.datasets.frames import Framing, measured_framing
from trainer.datasets.real_set import RealSet
from trainer.evaluation.figures import SubsetFigures, summarise
from trainer.evaluation.published import PUBLISHED
from trainer.evaluation.records import ImageRecord, compare, measure
from trainer.evaluation.tables import figure_rows, markdown, text_table
from trainer.overlay import draw_comparison
from trainer.predicting import predict_pictures
from trainer.saved import SavedModel

JSON_NAME: Final = "evaluation.json"
MARKDOWN_NAME: Final = "evaluation.md"
WORST_FOLDER: Final = "worst"
_PICTURES_AT_ONCE: Final = 16


@dataclass(frozen=True)
class SetFigures:
    """One set measured.

    Attributes:
        name: of the set.
        protocol: lines that say how: crop, names, what was left out.
        subsets: figures of each test subset, in the set's order.
    """

    name: str
    protocol: tuple[str, ...]
    subsets: tuple[SubsetFigures, ...]


@dataclass(frozen=True)
class Evaluated:
    """All sets measured.

    Attributes:
        sets: in the order asked for.
        text: the table for a terminal.
        markdown: the same for a page.
    """

    sets: tuple[SetFigures, ...]
    text: str
    markdown: str

    def to_json(self) -> str:
        """Return figures and published rows as JSON."""
        document = {
            "sets": [asdict(each) for each in self.sets],
            "published": {
                each.name: [asdict(row) for row in PUBLISHED.get(each.name, ())]
                for each in self.sets
            },
        }
        return json.dumps(document, indent=1) + "\n"


@dataclass(frozen=True)
class Task:
    """A set to measure, and where its crops come from."""

    real: RealSet
    framing: Framing


def task_of(real: RealSet, boxes: Path | None = None, detector: str | None = None) -> Task:
    """Return a set with its crops; see `measured_framing`."""
    return Task(real, measured_framing(real, boxes, detector))


def evaluate_sets(
    saved: SavedModel,
    tasks: Sequence[Task],
    out_dir: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> Evaluated:
    """Measure a model on the test subsets of real sets.

    Args:
        saved: the model.
        tasks: the sets.
        out_dir: gets `evaluation.json`, `evaluation.md` and pictures of the worst cases; None for
            none.
        on_progress: called with pictures done and in all.
        device: to predict on.

    Raises:
        DatasetError: a set is not as its form says.
    """
    saved.model.to(device)
    total = sum(len(_keys(task.real)) for task in tasks)
    done = 0
    measured = []
    for task in tasks:
        records: dict[str, ImageRecord] = {}
        keys = _keys(task.real)
        for start in range(0, len(keys), _PICTURES_AT_ONCE):
            part = keys[start : start + _PICTURES_AT_ONCE]
            found = measure(saved, task.real, part, task.framing, device=device)
            records |= zip(part, found, strict=True)
            done += len(part)
            if on_progress is not None:
                on_progress(done, total)
        measured.append(_figures(saved, task, records))
    evaluated = _put_together(tuple(measured))
    if out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
        for task, figures in zip(tasks, measured, strict=True):
            _draw_worst(saved, task, figures, out_dir / WORST_FOLDER / task.real.name, device)
        (out_dir / JSON_NAME).write_text(evaluated.to_json())
        (out_dir / MARKDOWN_NAME).write_text(evaluated.markdown)
    return evaluated


def _keys(real: RealSet) -> list[str]:
    """Return the keys of every test subset, each once."""
    subsets = [name for name in real.test if real.subsets.get(name)]
    if not subsets:
        real.keys(real.test[0])  # says what is missing
    return list(dict.fromkeys(key for name in subsets for key in real.subsets[name]))


def _figures(saved: SavedModel, task: Task, records: dict[str, ImageRecord]) -> SetFigures:
    real = task.real
    trained = f"fine-tuned on {saved.trained_on}" if saved.trained_on else "of stage I"
    protocol = (
        f"model {trained}; {task.framing.told}; figures at the labels' own size",
        *compare(saved, real).notes,
        *real.notes,
    )
    subsets = tuple(
        summarise(name, [records[key] for key in real.subsets[name]], real.classes)
        for name in real.test
        if real.subsets.get(name)
    )
    return SetFigures(real.name, protocol, subsets)


def _put_together(measured: tuple[SetFigures, ...]) -> Evaluated:
    texts, pages = [], []
    for each in measured:
        rows = figure_rows(each.subsets)
        published = PUBLISHED.get(each.name, ())
        texts.append(text_table(each.name, each.protocol, rows, published))
        pages.append(markdown(each.name, each.protocol, rows, published))
    return Evaluated(measured, "\n".join(texts), "\n".join(pages))


def _draw_worst(
    saved: SavedModel,
    task: Task,
    figures: SetFigures,
    folder: Path,
    device: torch.device | str,
) -> None:
    """Write pictures of the worst cases of the last subset: the widest one."""
    for rank, (key, value) in enumerate(figures.subsets[-1].worst, 1):
        sample = task.real.read(key).sample
        warps = [task.framing.warp(sample, saved.size_px)]
        found = predict_pictures(
            saved.model, [sample.image], [sample.focal_px], saved.size_px, device, warps
        )[0]
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{rank}-{100 * value:.1f}-{key.replace('/', '_').replace('#', '_')}"
        picture = draw_comparison(sample, found)
        cv2.imwrite(str((folder / name).with_suffix(".jpg")), picture[..., ::-1])
