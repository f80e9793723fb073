"""Figures of a set as text and as Markdown, published rows beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.evaluation.figures import (
    ClassFigures,
    DepthSummary,
    PointFigures,
    SubsetFigures,
)
from trainer.evaluation.published import PublishedRow


@dataclass(frozen=True)
class Row:
    """One figure of one subset.

    Attributes:
        name: of the figure, with its subset where there are several.
        value: as printed, with its unit.
        interval: 95 %, as printed; "" where none is taken.
    """

    name: str
    value: str
    interval: str = ""


def figure_rows(subsets: Sequence[SubsetFigures]) -> list[Row]:
    """Return every figure of a set's subsets, a row each."""
    rows = []
    for each in subsets:
        rows.append(Row(f"pictures {each.subset}", str(each.num_images)))
        if each.points is not None:
            rows += _point_rows(each.subset, each.points)
        if each.classes is not None:
            rows += _class_rows(each.classes)
        rows += [row for depth in each.depth for row in _depth_rows(each.subset, depth)]
    return rows


def text_table(
    title: str, protocol: Sequence[str], rows: Sequence[Row], published: Sequence[PublishedRow]
) -> str:
    """Return a table for a terminal."""
    width = max(len(row.name) for row in rows)
    lines = [title, "-" * len(title), *(f"({line})" for line in protocol)]
    lines += [f"{row.name:<{width}}  {row.value:>9}  {row.interval}".rstrip() for row in rows]
    names = {row.name for row in rows}
    for other in published:
        held = [f"{name} {value:.2f}" for name, value in other.values.items() if name in names]
        if held:
            lines.append(f"published: {other.method}: {', '.join(held)} ({other.source})")
    return "\n".join([*lines, ""])


def markdown(
    title: str, protocol: Sequence[str], rows: Sequence[Row], published: Sequence[PublishedRow]
) -> str:
    """Return the same as a Markdown table, a column a published method."""
    names = {row.name for row in rows}
    shown = [other for other in published if names & set(other.values)]
    head = ["", "this model", "95 %", *(f"{other.method}" for other in shown)]
    lines = [f"## {title}", "", *(f"- {line}" for line in protocol), ""]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = [
            f"{other.values[row.name]:.2f}" if row.name in other.values else "" for other in shown
        ]
        lines.append(f"| {' | '.join([row.name, row.value, row.interval, *cells])} |")
    lines += ["", *(f"{other.method}: {other.source}." for other in shown)]
    return "\n".join([*lines, ""])


def _point_rows(subset: str, points: PointFigures) -> list[Row]:
    return [
        Row(f"NME {subset}", _percent(points.nme), _interval(points.interval)),
        Row(f"NME {subset}, over pupils' distance", _percent(points.nme_interpupil)),
        Row(f"NME {subset}, over the box", _percent(points.nme_box)),
        Row(f"FR above 10 % {subset}", _percent(points.failure_rate)),
        Row(f"AUC to 10 % {subset}", f"{points.auc:.3f}"),
        *(
            Row(f"NME {subset}, |yaw| {span} deg ({count})", _percent(value))
            for span, (value, count) in points.by_yaw.items()
        ),
    ]


def _class_rows(classes: ClassFigures) -> list[Row]:
    means = [
        Row(f"F1 {name}", _percent(mean), _interval(interval))
        for name, (mean, interval) in classes.means.items()
    ]
    return [*means, *(Row(f"F1 {name}", _percent(score)) for name, score in classes.f1.items())]


def _depth_rows(subset: str, depth: DepthSummary) -> list[Row]:
    told = "as predicted" if depth.alignment == "none" else f"after {depth.alignment}"
    name = f"depth {subset}, {told}"
    return [
        Row(f"{name}: AbsRel", _percent(depth.errors.abs_rel), _interval(depth.interval)),
        Row(f"{name}: RMSE", f"{1000 * depth.errors.rmse_m:.1f} mm"),
        Row(f"{name}: ratio below 1.25", _percent(depth.errors.delta1)),
        Row(f"{name}: ratio below 1.01", _percent(depth.errors.delta_strict)),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _interval(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
