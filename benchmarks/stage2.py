"""python -m benchmarks.stage2 --ict FILE: what label fine-tuning is worth, on a stand-in.

Stage I learns from built-in shards in which hair is not labelled. The stand-in for a real set is
another head under another renderer (benchmarks/standin), written in the forms of 300-W and LaPa,
with labels in the old and in another convention on the same pictures. Fitted to 50, 200 and 1000 of
its pictures, five seeds each: the frozen model under adaptation as it is by default, with low-rank
changes in the backbone; with f_s of the backbone as it is; without f_s; with f_s of another
picture; the same model fine-tuned whole; and from random weights. Every fit takes the same number
of steps. What is done is kept under --out: a run that was stopped goes on.

Settings are chosen with `--split val`; the figures to report are those of `--split test`, whose
faces are in no other split. Both share the stage I that lies under --out.

FILE is the compact export of ICT-FaceKit's Light model (MIT), `ict_facekit_small.npz`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.standin.forms import BOXES_NAME, HeldOut, StandIn, make_stand_in
from benchmarks.standin.synthetic import train_stage1
from benchmarks.standin.table import METHODS, Table
from synthforge.conventions import CLASS_IDS
from trainer import metrics
from trainer.augment import Augment
from trainer.datasets.classes import LAPA_11, OURS
from trainer.datasets.frames import Framing, measured_framing, train_framing
from trainer.datasets.lapa import open_lapa
from trainer.datasets.points import LAPA_106
from trainer.datasets.real_set import RealSet
from trainer.datasets.w300 import open_300w
from trainer.decoding import Sample
from trainer.evaluation.figures import mean_f1
from trainer.evaluation.records import ImageRecord, measure
from trainer.model.adapters import AdaptedModel, FrozenFeatures
from trainer.model.network import FaceModel, Predictions
from trainer.predicting import FacePrediction, predict_pictures
from trainer.real_batches import RealBatches
from trainer.recipes import Stage2Recipe, stage2_quick
from trainer.saved import load_model
from trainer.stage2 import adapted_model, chosen_keys, open_stage2, relabelled_model
from trainer.trivial import PointMix, best_relabelling, constant_offsets, linear_mix

_PUPILS: Final = [104, 105]
_WIDTH: Final = 32  # of the adaptation networks: two thirds of the default's, for speed
_BATCH: Final = 50  # pictures predicted at a time; more than one, so that f_s can be shuffled


@dataclass(frozen=True)
class Scale:
    """How large the experiment is."""

    num_synthetic: int = 4000
    stage1_steps: int = 2000
    num_labelled: tuple[int, ...] = (50, 200, 1000)
    num_asked: int = 200
    num_held_out: int = 240
    picture_px: int = 128
    input_px: int = 96
    stage2_steps: int = 120
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


SMALL: Final = Scale(64, 6, (16,), 16, 8, stage2_steps=3, seeds=(0,))  # fits nothing


class ShuffledFeatures(AdaptedModel):
    """The control: features of the next picture of the batch, the frozen answers of this one."""

    def look(self, image: Tensor) -> tuple[Predictions, FrozenFeatures]:
        """Return answers that no adapter in the encoder has touched, and what it made of f_s."""
        return self.look_frozen(image)[0], super().look(image)[1]

    def adapted(self, old: Predictions, features: FrozenFeatures | None) -> Predictions:
        """Return new labels from features that tell nothing of the picture."""
        if features is not None:
            levels = tuple(level.roll(1, 0) for level in features.levels)
            features = FrozenFeatures(features.fine.roll(1, 0), levels)
        return super().adapted(old, features)


@dataclass(frozen=True)
class Form:
    """One form of the stand-in, ready to fit and to measure."""

    real: RealSet
    train: Framing
    test: Framing
    test_keys: tuple[str, ...]


# Of one training picture: the frozen model's points, the label's, and pixels by (old, new) class.
Answer = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


def main() -> int:
    """Run the experiment; 0 if every statement of the table holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ict", type=Path, required=True, help="ict_facekit_small.npz")
    parser.add_argument("--out", type=Path, default=Path("out/stage2"), help="folder to keep")
    parser.add_argument(
        "--split", choices=("val", "test"), default="test", help="faces that fits are measured on"
    )
    parser.add_argument("--part", default="0/1", help="I/N: every Nth fit from I on, no table")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="a smoke test: figures mean nothing")
    options = parser.parse_args()
    scale = SMALL if options.small else Scale()
    torch.set_num_threads(options.threads)
    begun = time.process_time()
    experiment = Experiment(options.out, options.ict, scale, options.split)
    part, parts = map(int, options.part.split("/"))
    results = experiment.run(part, parts)
    if parts > 1:
        return 0
    table = Table(results, scale.num_labelled, scale.num_asked, scale.seeds)
    told = f"measured on {scale.num_held_out} faces of the stand-in's {options.split} split"
    report = "\n".join([told, *table.lines()])
    (experiment.folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (experiment.folder / "results.txt").write_text(report + "\n")
    print(report)
    fits = sum(result["cpu_s"] for result in results.values())
    print(f"CPU time of all fits {fits:.0f} s, of this run {time.process_time() - begun:.0f} s")
    return 0 if options.small or all(s.holds for s in table.statements()) else 1


class Experiment:
    """The runs, one after another; each result is kept as soon as it is there.

    Args:
        out: keeps the stage I that all splits share, and a folder a split.
        head_file: of the stand-in.
        scale: how large it is.
        held_out: the split that fits are measured on.
    """

    def __init__(self, out: Path, head_file: Path, scale: Scale, held_out: HeldOut) -> None:
        self.folder, self._scale = out / held_out, scale
        self.folder.mkdir(parents=True, exist_ok=True)
        of_stage1 = (scale.num_synthetic, scale.stage1_steps, scale.input_px)
        keep_settings(out, {"stage1 faces, steps, pixels": of_stage1})
        keep_settings(
            self.folder, {"scale": asdict(scale), "stage2": asdict(stage2_of(scale, seed=0))}
        )
        stand_in = make_stand_in(
            head_file,
            self.folder / "standin",
            held_out,
            max(scale.num_labelled),
            scale.num_held_out,
            scale.picture_px,
        )
        self._truth = stand_in.truth
        self._forms = forms_of(stand_in)
        self._checkpoint = out / "stage1.pt"
        if not self._checkpoint.exists():
            train_stage1(out, self._checkpoint, *of_stage1)
        self._saved = load_model(self._checkpoint)
        self._kept = {
            path.stem: json.loads(path.read_text()) for path in self.folder.glob("runs/*.json")
        }
        self._answers: dict[tuple[str, str], Answer] = {}

    def run(self, part: int = 0, parts: int = 1) -> dict[str, Any]:
        """Make the fits of a part that are not there yet; return every figure by its name."""
        for name, make in self._fits()[part::parts]:
            self._keep(name, make)
        return self._kept

    def _fits(self) -> list[tuple[str, Callable[[], dict[str, float]]]]:
        found: list[tuple[str, Callable[[], dict[str, float]]]] = [("frozen", self._frozen)]
        for seed, count in product(self._scale.seeds, self._scale.num_labelled):
            for name, form in self._forms.items():
                tag = f"{name} {count} {seed}"
                found.append((f"{tag} trivial", partial(self._trivial, form, count, seed)))
                # What f_s is worth is asked where classes are, at one number of pictures.
                asked = form.real.classes is not None and count == self._scale.num_asked
                methods = [m for m in METHODS if asked or "f_s" not in m]
                found += [(f"{tag} {m}", partial(self._fit, form, count, seed, m)) for m in methods]
        return found

    def _keep(self, name: str, make: Callable[[], dict[str, float]]) -> None:
        if name not in self._kept:
            begun = time.process_time()
            self._kept[name] = make() | {"cpu_s": round(time.process_time() - begun, 1)}
            path = self.folder / "runs" / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(self._kept[name]) + "\n")
            print(name, json.dumps(self._kept[name]), flush=True)

    def _frozen(self) -> dict[str, float]:
        """Measure the frozen model on the held-out pictures under the old convention."""
        errors, counts = [], np.zeros((OURS.num_classes,) * 2, np.int64)
        form = self._forms["300w"]
        table = np.arange(256, dtype=np.uint8)
        table[CLASS_IDS["hair"]] = 0  # as stage I was taught
        with np.load(self._truth) as truth:
            for key in form.test_keys:
                found = self._predict(form.real.read(key).sample, form.test)
                points = truth[f"{Path(key).stem}_points"]
                assert found.landmarks_px is not None
                errors.append(float(metrics.nme(found.landmarks_px, points)))
                assert found.segmentation is not None
                classes = table[truth[f"{Path(key).stem}_classes"]]
                counts += metrics.confusion(found.segmentation, classes, OURS.num_classes)
        parts = [CLASS_IDS[n] for n in LAPA_11.names[1:] if n != "hair"]
        return {"nme_old": float(np.mean(errors)), "f1_old": mean_f1(counts, parts)}

    def _recipe(self, seed: int, method: str) -> Stage2Recipe:
        recipe = stage2_of(self._scale, seed)
        augment = replace(recipe.augment, size_px=self._saved.size_px)
        return replace(
            recipe,
            augment=augment,
            use_features=method != "without f_s",
            adapt_rank=0 if method == "frozen f_s" else recipe.adapt_rank,
        )

    def _fit(self, form: Form, count: int, seed: int, method: str) -> dict[str, float]:
        real, recipe = form.real, self._recipe(seed, method)
        terms = dict(recipe.loss.weights)
        dropped = [
            t for t in terms if t.startswith("depth") or (not real.classes and t == "segmentation")
        ]
        weights = {name: value for name, value in terms.items() if name not in dropped}
        recipe = replace(recipe, loss=type(recipe.loss)(weights))
        base = load_model(self._checkpoint).model
        assert isinstance(base, FaceModel)
        keys = chosen_keys(real, "train", count, seed)
        torch.manual_seed(seed)
        model: torch.nn.Module
        if method in {"finetune", "scratch"}:
            model = relabelled_model(base, real, keep=method == "finetune")
        else:
            model = adapted_model(base, real, recipe, self._mix(form, keys))
            if method == "shuffled f_s":
                model.__class__ = ShuffledFeatures
        batches = RealBatches(real, keys, form.train, Augment(recipe.augment), recipe.load)
        training = open_stage2(model, recipe)
        training.run(batches.from_step(0), lambda _: None)
        fitted = replace(
            self._saved,
            model=training.average.eval(),
            points=real.points,
            classes=real.classes or self._saved.classes,
        )
        return scores(measure(fitted, real, form.test_keys, form.test, batch_size=_BATCH), real)

    def _mix(self, form: Form, keys: tuple[str, ...]) -> PointMix:
        assert form.real.points is not None
        found, truth, _ = self._answers_to(form, keys)
        return linear_mix(found, truth, form.real.points)

    def _answers_to(
        self, form: Form, keys: tuple[str, ...]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Return (M, 68, 2) frozen points, (M, N, 2) labels and (M, old, new) counted pixels.

        What the frozen model says of a training picture is asked once.
        """
        for key in keys:
            if (form.real.name, key) not in self._answers:
                sample = form.real.read(key).sample
                answer = self._predict(sample, form.train)
                points = np.asarray(answer.landmarks_px), np.asarray(sample.landmarks_px, float)
                self._answers[form.real.name, key] = (*points, _counted(answer, sample))
        found, truth, counts = zip(*(self._answers[form.real.name, k] for k in keys), strict=True)
        return np.stack(found), np.stack(truth), np.stack(counts)

    def _predict(self, sample: Sample, framing: Framing) -> FacePrediction:
        size_px = self._saved.size_px
        warps = [framing.warp(sample, size_px)]
        return predict_pictures(self._saved.model, [sample.image], [None], size_px, warps=warps)[0]

    def _trivial(self, form: Form, count: int, seed: int) -> dict[str, float]:
        """Fit and measure a constant a point and a new name a class."""
        assert form.real.points is not None
        keys = chosen_keys(form.real, "train", count, seed)
        found, truth, counts = self._answers_to(form, keys)
        mix = constant_offsets(found, truth, form.real.points)
        table = np.arange(256, dtype=np.uint8)
        if form.real.classes is not None:
            table[: OURS.num_classes] = best_relabelling(counts.sum(0))
        return scores(self._renamed(form, mix, table), form.real)

    def _renamed(self, form: Form, mix: PointMix, table: NDArray[np.uint8]) -> list[ImageRecord]:
        records = []
        for key in form.test_keys:
            sample = form.real.read(key).sample
            found = self._predict(sample, form.test)
            assert found.landmarks_px is not None
            points = mix.apply(found.landmarks_px[None])[0]
            truth = np.asarray(sample.landmarks_px, np.float64)
            assert form.real.points is not None
            right, left = form.real.points.outer_eye_corners
            counts = None
            if sample.segmentation is not None and found.segmentation is not None:
                counts = metrics.confusion(
                    table[found.segmentation], sample.segmentation, LAPA_11.num_classes
                )
            records.append(
                ImageRecord(
                    key,
                    errors_px=metrics.point_errors(points, truth),
                    interocular_px=float(np.linalg.norm(truth[right] - truth[left])),
                    counts=counts,
                )
            )
        return records


def stage2_of(scale: Scale, seed: int) -> Stage2Recipe:
    """Return the recipe of every fit: the default of a small model, of so many steps."""
    recipe = stage2_quick(seed)
    return replace(
        recipe, loop=replace(recipe.loop, steps=scale.stage2_steps), adapter_width=_WIDTH
    )


def keep_settings(folder: Path, asked: Mapping[str, Any]) -> None:
    """Write what a folder's results are made with; refuse a folder of others."""
    path, text = folder / "settings.json", json.dumps(asked, indent=1) + "\n"
    if not path.exists():
        path.write_text(text)
    elif path.read_text() != text:
        raise SystemExit(
            f"{folder} holds results of other settings ({path.name}): an empty one would do"
        )


def _counted(answer: FacePrediction, sample: Sample) -> NDArray[np.int64]:
    """Return (old, new) pixels of one picture by the frozen model's class and the label's."""
    if answer.segmentation is None or sample.segmentation is None:
        return np.zeros((OURS.num_classes, LAPA_11.num_classes), np.int64)
    size = OURS.num_classes  # a square table: the new ids are fewer
    counts = metrics.confusion(sample.segmentation, answer.segmentation, size)
    return counts[:, : LAPA_11.num_classes]


def scores(records: list[ImageRecord], real: RealSet) -> dict[str, float]:
    """Return the figures of one fit."""
    errors = np.stack([np.asarray(r.errors_px) / r.interocular_px for r in records])
    found = {"nme": float(errors.mean())}
    if real.points is LAPA_106:
        found["nme_pupils"] = float(errors[:, _PUPILS].mean())
    counts = [record.counts for record in records if record.counts is not None]
    if counts and real.classes is not None:
        total = np.sum(counts, axis=0)
        hair = real.classes.names.index("hair")
        found["f1_hair"] = mean_f1(total, [hair])
        found["f1_parts"] = mean_f1(total, [i for i in range(1, len(total)) if i != hair])
        found["f1"] = mean_f1(total, range(1, len(total)))
    return found


def forms_of(stand_in: StandIn) -> dict[str, Form]:
    """Open both forms by their readers, as a user does."""
    w300, lapa = open_300w(stand_in.w300), open_lapa(stand_in.lapa)
    boxes = stand_in.w300 / BOXES_NAME
    return {
        "300w": Form(
            w300, train_framing(w300, boxes), measured_framing(w300, boxes), w300.keys("full")
        ),
        "lapa": Form(
            lapa, train_framing(lapa), measured_framing(lapa), lapa.keys(stand_in.held_out)
        ),
    }


if __name__ == "__main__":
    raise SystemExit(main())
