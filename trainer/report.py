"""Figures as one table of text."""

from __future__ import annotations

from trainer.evaluate import Figures


def figures_table(title: str, figures: Figures) -> str:
    """Return a table of one figure a line, percent where it is a share."""
    rows = figure_rows(figures)
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return "\n".join([title, "-" * len(title), *lines, ""])


def figure_rows(figures: Figures) -> list[tuple[str, str]]:
    """Return names and values of the figures that are there."""
    rows: list[tuple[str, str]] = [("held-out pictures", str(figures.num_images))]
    marks = figures.landmarks
    if marks is not None:
        low, high = marks.interval
        rows += [
            ("NME, inter-ocular", f"{_percent(marks.nme)}   [{_percent(low)}, {_percent(high)}]"),
            ("NME of the mean shape", _percent(marks.baseline_nme)),
            ("times better", f"{marks.times_better:.1f}"),
            ("failures above 10 %", _percent(marks.failure_rate)),
            ("AUC up to 10 %", f"{marks.auc:.3f}"),
            *((f"NME, |yaw| {span} deg", _percent(value)) for span, value in marks.by_yaw.items()),
        ]
    parts = figures.segmentation
    if parts is not None:
        rows.append(("mean F1 of the classes", _percent(parts.mean_f1)))
        rows += [(f"F1, {name}", _percent(score)) for name, score in parts.f1.items()]
    depth = figures.depth
    if depth is not None:
        for name, errors in (("metric", depth.metric), ("aligned", depth.aligned)):
            rows += [
                (f"depth, {name}: AbsRel", _percent(errors.abs_rel)),
                (f"depth, {name}: RMSE", f"{errors.rmse_m * 1000:.1f} mm"),
                (f"depth, {name}: within 1 %", _percent(errors.delta_strict)),
            ]
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:6.2f} %"
