"""Report and card say what was asked, in words that other programs read."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from synthforge.distributions import quantile
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.shards import GeneratorInfo, IndexRange, ShardRecord, shard_key
from workers.index import INDEX_SCHEMA, join_tables
from workers.summary.card import dataset_card
from workers.summary.holdings import read_holdings
from workers.summary.parent import tally_of_report
from workers.summary.report import build_report, report_html, report_json
from workers.tally import Axes, Tally

SHA256 = "0" * 64
SHARD = ShardRecord(
    name=shard_key("train", 0, SHA256),
    split="train",
    number=0,
    num_samples=400,
    num_bytes=1,
    sha256=SHA256,
    indices=(IndexRange(start=0, stop=400),),
    rejected={},
    fingerprint="0" * 16,
)


def spec_of(**fields: object) -> JobSpec:
    return parse_job_spec(json.dumps({"count": 400} | fields))


def info_of(**licences: str) -> GeneratorInfo:
    return GeneratorInfo(kind="builtin", versions={}, assets={}, licences=licences)


def front_matter(spec: JobSpec, info: GeneratorInfo) -> dict[str, object]:
    text = dataset_card(spec, [SHARD], info).decode()
    return yaml.safe_load(text.split("---\n")[1])  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "yaw",
    [
        {"type": "choice", "values": [0, 10, 20]},
        {"type": "choice", "values": [-30, 0, 30], "weights": [1, 0, 3]},
        {"type": "mixture", "weights": [1, 1], "parts": [[-80, -60], 40]},
        {"type": "normal", "mean": 0, "std": 10},
        [-40, 40],
    ],
)
def test_what_was_asked_is_binned_as_what_was_drawn(yaw: object) -> None:
    spec = spec_of(pose={"yaw": yaw})
    axis = Axes.of(spec).by_name["pose.yaw"]
    drawn = [0] * 20
    for k in range(400):
        drawn[axis.bin_of(quantile(spec.pose.yaw, (k + 0.5) / 400))] += 1
    tally = Tally(drawn={"pose.yaw": drawn}, accepted={"pose.yaw": drawn})
    report = build_report(spec, [SHARD], tally)
    yaw_report = next(row for row in report.parameters if row.name == "pose.yaw")
    assert yaw_report.asked == pytest.approx(yaw_report.drawn, abs=0.01)
    assert json.loads(report_json(report))["num_samples"] == 400
    assert b"pose.yaw" in report_html(report)


def test_a_card_names_the_one_licence_that_it_inherits() -> None:
    assert front_matter(spec_of(), info_of(head="Apache-2.0"))["license"] == "apache-2.0"


@pytest.mark.parametrize(
    "licences", [{"flame": "FLAME"}, {"flame": "FLAME", "head": "Apache-2.0"}, {}]
)
def test_a_card_with_another_licence_says_other_and_lists_it(licences: dict[str, str]) -> None:
    assert front_matter(spec_of(), info_of(**licences))["license"] == "other"
    card = dataset_card(spec_of(), [SHARD], info_of(**licences)).decode()
    for name, licence in licences.items():
        assert f"- {name}: {licence}" in card


@pytest.mark.parametrize("name", ["faces", 'a "b": c', "\U0001f600 \u00e9", "\ufeff\u2028\x85x"])
def test_any_name_of_a_job_is_read_back_from_its_card(name: str) -> None:
    assert front_matter(spec_of(name=name), info_of())["pretty_name"] == name


def test_the_counts_behind_a_report_are_read_back_from_it() -> None:
    """A number has a value a draw, coefficients have many."""
    names = ("pose.yaw", "expression.coefficients")
    spec = spec_of()
    bins = {names[0]: [400] + [0] * 19, names[1]: [7] + [3000] * 18 + [1]}
    report = build_report(spec, [SHARD], Tally(drawn=bins, accepted=bins))
    found = tally_of_report(json.loads(report_json(report)))
    for name in names:
        assert (name, found.drawn[name], found.accepted[name]) == (name, bins[name], bins[name])


def test_a_report_tells_presets_coefficients_and_what_the_gate_moved() -> None:
    spec = spec_of(expression={"presets": {"neutral": 1, "smile": 3}})
    drawn, accepted = [100] + [0] * 18 + [300], [50] + [0] * 18 + [300]
    name = "expression.preset"
    report = build_report(spec, [SHARD], Tally(drawn={name: drawn}, accepted={name: accepted}))
    by_name = {each.name: each for each in report.parameters}
    assert {"identity.shape", "expression.coefficients", "expression.jaw_open"} <= set(by_name)
    assert by_name[name].labels == ("neutral", "smile")
    assert by_name[name].asked == pytest.approx(by_name[name].drawn, abs=0.01)
    assert by_name[name].shift == pytest.approx(0.25 - 50 / 350, abs=1e-6)
    page = report_html(report).decode()
    assert "neutral, smile" in page
    assert f"<tr><th>{name}</th><td>0.107</td></tr>" in page.split("What the quality gate moved")[1]


def test_what_the_faces_are_is_read_from_the_index(tmp_path: Path) -> None:
    path = tmp_path / "index.parquet"
    columns = {
        "hair_colour": ["brown", "black", "brown", None],
        "glasses": [None] * 4,
        "age_years": [21.0, 45.0, 44.0, None],
    }
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    fixed = {"key": "0", "shard": "a", "offset": 0, "num_bytes": 1, "sha256": "", "index": 0,
             "identity": 0, "split": "train", "attempt": 0, "width": 8, "height": 8}  # fmt: skip
    table = pa.Table.from_pylist([fixed | row for row in rows], INDEX_SCHEMA)
    join_tables([table], path)
    held = {holding.name: holding for holding in read_holdings(path)}
    assert set(held) == {"hair_colour", "age_years"}
    assert held["hair_colour"].words == {"brown": 2, "black": 1}
    assert held["age_years"].mean == pytest.approx(110 / 3, abs=1e-5)
    assert sum(held["age_years"].shares) == pytest.approx(1, abs=1e-5)
    report = build_report(spec_of(), [SHARD], Tally(), tuple(held.values()))
    assert "brown" in report_html(report).decode()
    assert json.loads(report_json(report))["holdings"][0]["name"] == "age_years"
    card = dataset_card(spec_of(), [SHARD], info_of(), tuple(held.values())).decode()
    assert "| hair_colour | brown 66.7%, black 33.3% |" in card
    assert "| age_years | mean 36.7, from 21 to 45 |" in card
