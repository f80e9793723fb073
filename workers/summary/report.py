"""Asked against achieved: what each parameter was asked to be, what was drawn, what was kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

from synthforge.distributions import Distribution, quantile
from synthforge.jobs import JobSpec
from synthforge.shards import ShardRecord
from workers.sampling import PRESET_STREAM
from workers.summary.holdings import Holding
from workers.tally import NUM_BINS, YAW_BIN_DEG, Axes, Axis, Tally, varied

_EXPECTED_POINTS = 4096  # quantiles that stand for the asked distribution
MOST_MOVED = 20
_HOLDINGS_TITLE = (
    "<h2>What the faces are</h2><p>Attributes of the accepted, from index.parquet.</p>"
)


@dataclass(frozen=True)
class ParameterReport:
    """One distribution of the job over `NUM_BINS` equal bins from low to high; shares sum to 1.

    `labels` name its values where they are no numbers: the expressions of a choice of presets.
    `num_drawn` and `num_accepted` count the values behind the shares: one a draw of a number, and
    of coefficients as many as a draw has.
    """

    name: str
    low: float
    high: float
    labels: tuple[str, ...]
    asked: tuple[float, ...]
    drawn: tuple[float, ...]
    accepted: tuple[float, ...]
    num_drawn: int
    num_accepted: int

    @property
    def shift(self) -> float:
        """Total variation distance between drawn and accepted: what the gate moved, 0 to 1."""
        return sum(abs(a - b) for a, b in zip(self.drawn, self.accepted, strict=True)) / 2


@dataclass(frozen=True)
class Report:
    """What a dataset holds against what was asked."""

    name: str
    num_samples: int
    num_draws: int
    num_bytes: int
    splits: dict[str, int]
    rejected: dict[str, int]
    rejected_yaw: dict[str, int]
    parameters: tuple[ParameterReport, ...]
    holdings: tuple[Holding, ...] = ()


def build_report(
    spec: JobSpec, shards: Sequence[ShardRecord], tally: Tally, holdings: Sequence[Holding] = ()
) -> Report:
    """Bring the counts of all shards into shares beside what the spec asked for.

    Args:
        spec: of the job.
        shards: of the dataset.
        tally: of all of them.
        holdings: what the faces turned out to be.
    """
    distributions = varied(spec)
    splits = dict.fromkeys(spec.output.splits, 0)
    for shard in shards:
        splits[shard.split] += shard.num_samples
    num_samples = sum(splits.values())
    return Report(
        name=spec.name,
        num_samples=num_samples,
        num_draws=num_samples + tally.rejected.total(),
        num_bytes=sum(shard.num_bytes for shard in shards),
        splits={name: count for name, count in splits.items() if count},
        rejected=dict(sorted(tally.rejected.items())),
        rejected_yaw={
            f"{edge}..{edge + YAW_BIN_DEG}": count
            for edge, count in sorted(tally.rejected_yaw.items())
        },
        parameters=tuple(
            ParameterReport(
                name=name,
                low=axis.low,
                high=axis.high,
                labels=tuple(spec.expression.presets) if name == PRESET_STREAM else (),
                asked=_asked(distributions[name], axis),
                drawn=_shares(tally.drawn.get(name, [])),
                accepted=_shares(tally.accepted.get(name, [])),
                num_drawn=sum(tally.drawn.get(name, [])),
                num_accepted=sum(tally.accepted.get(name, [])),
            )
            for name, axis in sorted(Axes.of(spec).by_name.items())
        ),
        holdings=tuple(holdings),
    )


def report_json(report: Report) -> bytes:
    """Return `report.json`."""
    data = asdict(report)
    for parameter, written in zip(report.parameters, data["parameters"], strict=True):
        written["shift"] = round(parameter.shift, 6)
    return (json.dumps(data, indent=1) + "\n").encode()


def report_html(report: Report) -> bytes:
    """Return `report.html`: one page, no script, nothing fetched."""
    title = escape(report.name or "Synthetic faces")
    facts = [
        ("samples", f"{report.num_samples:,}"),
        ("draws", f"{report.num_draws:,}"),
        ("bytes in shards", f"{report.num_bytes:,}"),
        *((f"split {name}", f"{count:,}") for name, count in report.splits.items()),
        *((f"refused: {reason}", f"{count:,}") for reason, count in report.rejected.items()),
        *(
            (f"refused at yaw {bounds} degrees", f"{count:,}")
            for bounds, count in report.rejected_yaw.items()
        ),
    ]
    rows = "".join(f"<tr><th>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in facts)
    figures = "".join(_figure(parameter) for parameter in report.parameters)
    held = "".join(_holding(holding) for holding in report.holdings)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}: report</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>Synthetic faces. Every label comes from the 3D head that made the "
        f"picture.</p><table>{rows}</table><h2>Asked, drawn, accepted</h2>"
        '<p><span class="asked">asked</span> <span class="drawn">drawn</span> '
        '<span class="accepted">accepted</span></p>'
        f"<main>{figures}</main><h2>What the quality gate moved</h2>{_moved(report.parameters)}"
        f"{_HOLDINGS_TITLE if held else ''}<main>{held}</main></html>\n"
    )
    return page.encode()


def _moved(parameters: Sequence[ParameterReport]) -> str:
    """Tell apart from the draws themselves how far the accepted ones differ, most first."""
    moved = sorted(parameters, key=lambda each: (-each.shift, each.name))
    rows = "".join(
        f"<tr><th>{escape(each.name)}</th><td>{each.shift:.3f}</td></tr>"
        for each in moved[:MOST_MOVED]
        if each.shift > 0
    )
    if not rows:
        return "<p>Nothing: every draw was accepted.</p>"
    return (
        f"<p>Share of the accepted that lie in other bins than the drawn.</p><table>{rows}</table>"
    )


_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;"
    "color:#222}table{border-collapse:collapse}th{text-align:left;font-weight:400;padding:.15rem "
    "1rem .15rem 0}td{text-align:right}main{display:grid;gap:1rem;"
    "grid-template-columns:repeat(auto-fill,minmax(16rem,1fr))}figure{margin:0}"
    "figcaption{font-size:13px}svg{width:100%;background:#f6f6f4}"
    ".asked{color:#777}.drawn{color:#2a6fb0}.accepted{color:#c2571a}"
)
_PLOT_WIDTH, _PLOT_HEIGHT = 240, 80


def _figure(parameter: ParameterReport) -> str:
    peak = max(*parameter.asked, *parameter.drawn, *parameter.accepted, 1e-9)
    lines = "".join(
        _line(shares, peak, colour, width)
        for shares, colour, width in (
            (parameter.asked, "#999", 4),
            (parameter.drawn, "#2a6fb0", 2),
            (parameter.accepted, "#c2571a", 1.5),
        )
    )
    bounds = f"{parameter.low:g} to {parameter.high:g}"
    return _plot(lines, f"{parameter.name}: {', '.join(parameter.labels) or bounds}")


def _holding(holding: Holding) -> str:
    if holding.words:
        peak, total = max(holding.words.values()), sum(holding.words.values())
        bars = "".join(
            f'<tr><th>{escape(word)}</th><td><meter max="{peak}" value="{count}"></meter> '
            f"{count / total:.1%}</td></tr>"
            for word, count in holding.words.items()
        )
        return (
            f"<figure><figcaption>{escape(holding.name)}</figcaption><table>{bars}</table></figure>"
        )
    line = _line(holding.shares, max(*holding.shares, 1e-9), "#c2571a", 2)
    axis = f"axis {holding.low:g} to {holding.high:g}"
    found = f"mean {holding.mean:.3g}, from {holding.least:.3g} to {holding.most:.3g}"
    caption = f"{holding.name}: {found} ({axis})"
    return _plot(line, caption)


def _line(shares: Sequence[float], peak: float, colour: str, width: float) -> str:
    return (
        f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" '
        f'points="{_steps(shares, peak)}"/>'
    )


def _plot(lines: str, caption: str) -> str:
    return (
        f'<figure><svg viewBox="0 0 {_PLOT_WIDTH} {_PLOT_HEIGHT}">{lines}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _steps(shares: Sequence[float], peak: float) -> str:
    points = []
    for position, share in enumerate(shares):
        y = _PLOT_HEIGHT - 4 - share / peak * (_PLOT_HEIGHT - 8)
        edges = (position * _PLOT_WIDTH / NUM_BINS, (position + 1) * _PLOT_WIDTH / NUM_BINS)
        points += [f"{x:.1f},{y:.1f}" for x in edges]
    return " ".join(points)


def _asked(distribution: Distribution, axis: Axis) -> tuple[float, ...]:
    """Return the share of each bin under the asked distribution, from its own quantiles."""
    counts = [0] * NUM_BINS
    for k in range(_EXPECTED_POINTS):  # binned as draws are: a choice may lie on a bin's edge
        counts[axis.bin_of(quantile(distribution, (k + 0.5) / _EXPECTED_POINTS))] += 1
    return _shares(counts)


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    total = sum(counts)
    return tuple(round(count / total, 6) for count in counts) if total else (0.0,) * NUM_BINS
