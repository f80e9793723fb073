"""The table of `benchmarks.stage2`: curves, and a line a statement with target and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

METHODS: Final = (
    "adapt",
    "frozen f_s",
    "without f_s",
    "shuffled f_s",
    "finetune",
    "scratch",
)
_WITH_FEATURES: Final = ("adapt", "frozen f_s", "shuffled f_s")
FIGURES: Final = {"300w": ("nme",), "lapa": ("nme", "nme_pupils", "f1_parts", "f1_hair")}
_RIVALS: Final = ("trivial", "scratch", "finetune")
_LIMIT_RATIO: Final = 1.15
_LEAST_GAIN: Final = 0.10
_MOST_BY_SHUFFLED: Final = 0.01
_NAME: Final = 16
_COLUMN: Final = 22

Results = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Statement:
    """One line of the verdict.

    Attributes:
        text: what is stated.
        target: what it asks for.
        measured: what came out.
        holds: whether that is enough.
    """

    text: str
    target: str
    measured: str
    holds: bool


class Table:
    """What every fit measured, by form, number of labelled pictures, seed and method.

    Args:
        results: of `Experiment.run`: "FORM NUMBER SEED METHOD" -> figure -> share; and "frozen".
        num_labelled: numbers of labelled pictures.
        num_asked: the one at which f_s is taken away and shuffled.
        seeds: of the fits.
    """

    def __init__(
        self,
        results: Results,
        num_labelled: Sequence[int],
        num_asked: int,
        seeds: Sequence[int],
    ) -> None:
        self._results, self._num_labelled = results, num_labelled
        self._num_asked, self._seeds = num_asked, seeds

    def lines(self) -> list[str]:
        """Return the whole report."""
        frozen = self._results["frozen"]
        found = [
            f"frozen model, old convention: NME {_percent(frozen['nme_old'])}, "
            f"mean F1 of its parts {_percent(frozen['f1_old'])}"
        ]
        for form, figures in FIGURES.items():
            for figure in figures:
                found += ["", *self._curves(form, figure)]
        found += ["", *self._less_finetune(), "", *self._worth_of_features(), ""]
        statements = self.statements()
        width = max(len(s.text) for s in statements)
        found.append(f"{'':<{width}}  {'target':>12}  {'measured':>18}")
        for s in statements:
            verdict = "ok" if s.holds else "SHORT"
            found.append(f"{s.text:<{width}}  {s.target:>12}  {s.measured:>18}  {verdict}")
        return found

    def statements(self) -> list[Statement]:
        """Return what the table must show."""
        found = []
        old = self._results["frozen"]
        for form in FIGURES:
            for count in self._num_labelled:
                ratio = self._mean(form, count, "adapt", "nme") / old["nme_old"]
                text = f"{form}, {count} labelled: NME, of the frozen model's"
                found.append(_at_most(text, ratio))
                found += [self._beats(form, count, rival) for rival in _RIVALS]
        for count in self._num_labelled:
            wrong = 1 - self._mean("lapa", count, "adapt", "f1_parts")
            text = f"lapa, {count} labelled: 1 - F1 of parts, of the frozen model's"
            found.append(_at_most(text, wrong / (1 - old["f1_old"])))
        return [*found, *self._statements_on_hair()]

    def _beats(self, form: str, count: int, rival: str) -> Statement:
        own, its = (self._mean(form, count, method, "nme") for method in ("adapt", rival))
        text = f"{form}, {count} labelled: NME below {rival}'s"
        return Statement(text, f"< {_percent(its)}", _percent(own), own < its)

    def _statements_on_hair(self) -> list[Statement]:
        gain, by_shuffled = (
            float(np.mean(self._apart("lapa", self._num_asked, (m, "without f_s"), "f1_hair")))
            for m in _WITH_FEATURES[1:]
        )
        where = f"lapa, {self._num_asked} labelled: F1 of hair"
        return [
            Statement(
                f"{where} that f_s as it is adds, points",
                f">= {100 * _LEAST_GAIN:.0f}",
                f"{100 * gain:.1f}",
                gain >= _LEAST_GAIN,
            ),
            Statement(
                f"{where} that shuffled f_s adds, points",
                f"<= {100 * _MOST_BY_SHUFFLED:.0f}",
                f"{100 * by_shuffled:.1f}",
                by_shuffled <= _MOST_BY_SHUFFLED,
            ),
        ]

    def _curves(self, form: str, figure: str) -> list[str]:
        found = [f"{form}: {figure}, %: mean of {len(self._seeds)} seeds, 95 % interval"]
        found.append(
            f"{'labelled':>{_NAME}}" + "".join(f"{n:>{_COLUMN}}" for n in self._num_labelled)
        )
        for method in ("trivial", *METHODS):
            rows = [self._values(form, n, method, figure) for n in self._num_labelled]
            if any(rows):
                cells = "".join(f"{_interval(row):>{_COLUMN}}" for row in rows)
                found.append(f"{method:>{_NAME}}{cells}")
        return found

    def _less_finetune(self) -> list[str]:
        """Return what adaptation has over full fine-tuning: differences of fits of equal seed."""
        found = ["adapt less finetune of the same seed, points, 95 % interval"]
        found.append(
            f"{'labelled':>{_NAME}}" + "".join(f"{n:>{_COLUMN}}" for n in self._num_labelled)
        )
        for form, figures in FIGURES.items():
            for figure in figures:
                apart = [
                    self._apart(form, n, ("adapt", "finetune"), figure) for n in self._num_labelled
                ]
                cells = "".join(f"{_interval(row):>{_COLUMN}}" for row in apart)
                found.append(f"{form + ' ' + figure:>{_NAME}}{cells}")
        return found

    def _worth_of_features(self) -> list[str]:
        """Return what f_s adds to every figure: differences of fits with the same seed."""
        found = [f"lapa, {self._num_asked} labelled: less the same without f_s, points, 95 %"]
        found.append(f"{'':>{_NAME}}" + "".join(f"{m:>{_COLUMN}}" for m in _WITH_FEATURES))
        for figure in FIGURES["lapa"]:
            cells = ""
            for method in _WITH_FEATURES:
                apart = self._apart("lapa", self._num_asked, (method, "without f_s"), figure)
                cells += f"{_interval(apart):>{_COLUMN}}"
            found.append(f"{figure:>{_NAME}}{cells}")
        return found

    def _apart(self, form: str, count: int, pair: tuple[str, str], figure: str) -> list[float]:
        own, its = (self._values(form, count, method, figure) for method in pair)
        return [a - b for a, b in zip(own, its, strict=True)]

    def _values(self, form: str, count: int, method: str, figure: str) -> list[float]:
        runs = [self._results.get(f"{form} {count} {seed} {method}") for seed in self._seeds]
        return [run[figure] for run in runs if run and figure in run]

    def _mean(self, form: str, count: int, method: str, figure: str) -> float:
        return float(np.mean(self._values(form, count, method, figure)))


def _at_most(text: str, ratio: float) -> Statement:
    return Statement(text, f"<= {_LIMIT_RATIO}", f"{ratio:.2f}", ratio <= _LIMIT_RATIO)


def _interval(values: Sequence[float]) -> str:
    """Return mean and Student's 95 % interval over seeds, in per cent; the mean alone of one."""
    if not values:
        return ""
    mean = float(np.mean(values))
    if len(values) == 1:
        return f"{100 * mean:.2f}"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{100 * mean:.2f} +- {100 * half:.2f}"


_percent: Final[Callable[[float], str]] = "{:.2%}".format
