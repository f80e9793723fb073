"""JobSpec: the full example reads, defaults fill in, and what cannot be is refused by name."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthforge.distributions import Uniform
from synthforge.field_errors import SpecError
from synthforge.jobs import JobSpec, parse_job_spec

FULL = {
    "name": "faces-100k",
    "count": 100000,
    "seed": 0,
    "sampling": "random",
    "generator": {"kind": "next3d", "untrained": False, "conditioning": "fixed"},
    "identity": {
        "views": 1,
        "shape": {"type": "normal", "mean": 0, "std": 1, "low": -3, "high": 3},
        "truncation_psi": 0.7,
        "truncation_cutoff": 14,
    },
    "pose": {"yaw": [-45, 45], "pitch": [-20, 20], "roll": [-10, 10]},
    "expression": {
        "coefficients": {"type": "normal", "std": 0.7, "low": -2, "high": 2},
        "jaw_open": [0, 15],
        "presets": {"neutral": 1, "smile": 2},
    },
    "gaze": {"yaw": [-20, 20], "pitch": [-10, 10]},
    "neck": {"yaw": 0, "pitch": 0, "roll": 0},
    "camera": {"fov": [12, 27], "distance": 1.08},
    "image": {"size": 512, "format": "jpg", "quality": 95},
    "annotations": ["landmarks68", "segmentation", "depth", "camera", "head"],
    "quality": {"max_attempts": 20},
    "output": {
        "url": "s3://bucket/prefix",
        "samples_per_shard": 1000,
        "splits": {"train": 0.9, "val": 0.1},
        "reproducibility": "any",
    },
}


def parse(document: object) -> JobSpec:
    return parse_job_spec(json.dumps(document))


def test_the_full_example_of_the_design_reads_and_round_trips() -> None:
    spec = parse(FULL)
    assert parse_job_spec(spec.canonical_json()) == spec
    assert spec.pose.yaw.low == -45  # type: ignore[union-attr]
    assert list(spec.output.splits) == ["train", "val"]


def test_only_count_is_required_and_the_embedded_generator_is_the_default() -> None:
    spec = parse({"count": 3})
    assert spec.generator.kind == "builtin"
    assert spec.light is not None
    assert spec.identity.truncation_psi is None
    assert parse_job_spec(spec.canonical_json()) == spec


def test_the_generators_own_defaults_are_filled_in() -> None:
    spec = parse({"count": 3, "generator": "next3d"})
    assert spec.identity.truncation_psi == 0.7
    assert spec.generator.precision == "float32"
    assert spec.generator.conditioning == "fixed"
    assert spec.appearance is None
    assert parse_job_spec(spec.canonical_json()) == spec


def test_the_order_of_splits_is_kept() -> None:
    spec = parse({"count": 3, "output": {"splits": {"val": 0.25, "train": 0.5, "a": 0.25}}})
    assert list(parse_job_spec(spec.canonical_json()).output.splits) == ["val", "train", "a"]


@given(
    st.fixed_dictionaries(
        {"count": st.integers(1, 10**6)},
        optional={
            "seed": st.integers(0, 2**63 - 1),
            "name": st.text(st.characters(codec="utf-8", min_codepoint=32), max_size=20).filter(
                lambda text: "\x7f" not in text
            ),
            "sampling": st.sampled_from(["random", "sobol"]),
            "pose": st.fixed_dictionaries({}, optional={"yaw": st.floats(-89, 89)}),
            "identity": st.fixed_dictionaries({}, optional={"views": st.integers(1, 100)}),
            "annotations": st.lists(
                st.sampled_from(["depth", "uv", "head", "normals"]), unique=True
            ),
            "generator": st.sampled_from(["builtin", "next3d"]),
        },
    )
)
def test_every_valid_spec_survives_its_canonical_form(document: dict[str, object]) -> None:
    spec = parse(document)
    again = parse_job_spec(spec.canonical_json())
    assert again == spec
    assert again.canonical_json() == spec.canonical_json()


@pytest.mark.parametrize(
    ("document", "field", "said"),
    [
        ({}, "count", "required"),
        ({"count": 0}, "count", "greater than or equal to 1"),
        ({"count": 10**12}, "count", "less than or equal to 100000000"),
        ({"count": "3"}, "count", "valid integer"),
        ({"count": True}, "count", "valid integer"),
        ({"count": 1, "colour": 1}, "colour", "no such field"),
        ({"count": 1, "pose": {"tilt": 1}}, "pose.tilt", "no such field (docs/contract.md lists"),
        ({"count": 1, "pose": {"yawn": 1}}, "pose.yawn", "did you mean yaw?"),
        ({"count": 1, "light": {"contrst": 1}}, "light.contrst", "did you mean contrast?"),
        ({"count": 1, "untrained": True}, "untrained", "did you mean generator.untrained?"),
        (
            {"count": 1, "expression": {"action_units": {"smyle": 1}}},
            "expression.action_units.smyle",
            "did you mean smile?",
        ),
        (
            {"count": 1, "pose": {"yaw": {"type": "uniform", "loww": 0, "high": 1}}},
            "pose.yaw.loww",
            "did you mean low?",
        ),
        ({"count": 1, "pose": {"yaw": [-100, 3]}}, "pose.yaw", "outside [-89, 89] degrees"),
        ({"count": 1, "pose": {"yaw": [5, 3]}}, "pose.yaw", "swap them"),
        ({"count": 1, "camera": {"distance": 7}}, "camera.distance", "outside [0.3, 6] metres"),
        ({"count": 1, "generator": "nerf"}, "generator.kind", "'builtin' or 'next3d'"),
        (
            {"count": 1, "identity": {"truncation_psi": 0.5}},
            "identity.truncation_psi",
            "'builtin' has no such field",
        ),
        ({"count": 1, "generator": "next3d", "light": {}}, "light", "'next3d' has no such field"),
        (
            {"count": 1, "identity": {"shape": {"per_index": {"400": 1}}}},
            "identity.shape.per_index.400",
            "has indices 0 to",
        ),
        (
            {"count": 1, "identity": {"shape": {"per_index": {"4": 10}}}},
            "identity.shape.per_index.4",
            "outside [-5, 5]",
        ),
        ({"count": 1, "output": {"splits": {"a": 0.5}}}, "output.splits", "sum to 0.5"),
        ({"count": 1, "output": {"splits": {"A": 1}}}, "output.splits.A", "pattern"),
        ({"count": 1, "annotations": ["depth", "depth"]}, "annotations", "named twice"),
        (
            {"count": 10**8, "output": {"samples_per_shard": 1}},
            "output.samples_per_shard",
            "more than 1000000 shards",
        ),
        (
            {"count": 1, "expression": {"presets": {"neutral": 0}}},
            "expression.presets",
            "all weights are 0",
        ),
    ],
)
def test_a_spec_that_cannot_be_made_is_refused_by_field(
    document: dict[str, object], field: str, said: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        parse(document)
    found = {error.field: error.message for error in refusal.value.errors}
    assert said in found[field]


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(SpecError, match=r"count: .*; pose.yaw: ") as refusal:
        parse({"count": 0, "pose": {"yaw": "left"}})
    assert {error.field for error in refusal.value.errors} == {"count", "pose.yaw"}


def test_a_torn_document_is_refused() -> None:
    with pytest.raises(SpecError, match=r"Invalid JSON: .* line 1 column 11") as refusal:
        parse_job_spec('{"count": 1')
    assert [error.value for error in refusal.value.errors] == [None]


def test_the_published_schema_shows_the_short_form_of_a_range() -> None:
    schema = json.dumps(JobSpec.model_json_schema())
    assert '"minItems": 2' in schema
    assert "degrees" in schema


@pytest.mark.parametrize(
    "document",
    [
        FULL,
        {"generator": "next3d"},
        {"generator": {"kind": "builtin"}},
        {"pose": {"yaw": 3}},
        {"pose": {"yaw": [-3, 3]}},
        {"pose": {"yaw": {"type": "uniform", "low": 1, "high": 2}}},
        {"pose": {"yaw": {"type": "normal", "std": 3}}},
        {"pose": {"yaw": {"type": "choice", "values": [1, 2]}}},
        {"pose": {"yaw": {"type": "mixture", "weights": [1, 1], "parts": [3, [4, 5]]}}},
        {"identity": {"shape": {"per_index": {"3": [0, 1]}}}},
    ],
)
def test_the_published_schema_takes_every_form_that_is_read(document: dict[str, object]) -> None:
    whole = {"count": 2} | document
    parse(whole)
    jsonschema.validate(whole, JobSpec.model_json_schema())


@pytest.mark.parametrize(
    "document",
    [
        {"generator": "nerf"},
        {"pose": {"yaw": {"low": 1, "high": 2}}},
        {"pose": {"yaw": {"type": "normal", "low": 1, "high": 2}}},
        {"pose": {"yaw": [1, 2, 3]}},
        {"pose": {"yaw": "left"}},
    ],
)
def test_the_published_schema_refuses_what_is_not_read(document: dict[str, object]) -> None:
    whole = {"count": 2} | document
    with pytest.raises(SpecError):
        parse(whole)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(whole, JobSpec.model_json_schema())


def test_an_error_names_field_value_and_what_would_do() -> None:
    with pytest.raises(
        SpecError, match=r"^count: .*less than or equal to 100000000 \(given: 10{12}\)$"
    ):
        parse({"count": 10**12})
    with pytest.raises(SpecError, match=r"^pose.yaw: -100 is outside \[-89, 89\] degrees"):
        parse({"count": 1, "pose": {"yaw": -100}})


def test_framing_takes_the_place_of_the_field_of_view() -> None:
    framed = parse_job_spec('{"count": 1, "framing": {"face_fraction": 0.5}}')
    assert framed.camera.fov is None
    assert parse_job_spec(framed.canonical_json()) == framed
    plain = parse_job_spec('{"count": 1}')
    assert plain.camera.fov == Uniform(low=12, high=27)
    assert parse_job_spec(plain.canonical_json()) == plain
    with pytest.raises(SpecError, match=r"camera.fov: framing.face_fraction sets the field"):
        parse_job_spec('{"count": 1, "framing": {}, "camera": {"fov": 20}}')
