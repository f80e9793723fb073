"""The dataset card: what a hub and a reader need to know, in Markdown with YAML front matter."""

from __future__ import annotations

import json
from collections.abc import Sequence

from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.samples import members_of
from synthforge.shards import GeneratorInfo, ShardRecord
from workers.summary.holdings import Holding

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_TASKS = {"landmarks68": "keypoint-detection", "segmentation": "image-segmentation",
          "depth": "depth-estimation"}  # fmt: skip


def dataset_card(
    spec: JobSpec,
    shards: Sequence[ShardRecord],
    info: GeneratorInfo,
    holdings: Sequence[Holding] = (),
) -> bytes:
    """Return `README.md` of a dataset."""
    num_samples = sum(shard.num_samples for shard in shards)
    return "\n".join(
        [
            *_front_matter(spec, shards, info, num_samples),
            *_description(spec, info, num_samples),
            *_contents(spec),
            *_classes(spec),
            *_faces(holdings),
            "## Job",
            "",
            "The whole request, defaults filled in:",
            "",
            "```json",
            json.dumps(json.loads(spec.canonical_json()), indent=1),
            "```",
            "",
        ]
    ).encode()


def _front_matter(
    spec: JobSpec, shards: Sequence[ShardRecord], info: GeneratorInfo, num_samples: int
) -> list[str]:
    tasks = [task for annotation, task in _TASKS.items() if annotation in spec.annotations]
    lines = ["---", f"pretty_name: {_quoted(spec.name or 'Synthetic faces')}"]
    lines += _licence(info)
    lines += ["tags:", "- synthetic", "- faces", "- webdataset", "- synthforge"]
    lines += ["task_categories:", *(f"- {task}" for task in tasks)] if tasks else []
    size = next((name for limit, name in _SIZES if num_samples < limit), "n>10M")
    lines += ["size_categories:", f"- {size}", "configs:", "- config_name: default"]
    lines += ["  data_files:"]
    present = {shard.split for shard in shards}
    for split in spec.output.splits:
        if split in present:
            lines += [f"  - split: {split}", f"    path: shards/{split}-*.tar"]
    return [*lines, "---", ""]


def _licence(info: GeneratorInfo) -> list[str]:
    """Name the one licence that a hub knows, or say that others are inherited."""
    inherited = set(info.licences.values())
    if inherited == {"Apache-2.0"}:
        return ["license: apache-2.0"]
    return ["license: other", "license_name: inherited"]


def _quoted(text: str) -> str:
    """Return a double-quoted YAML scalar; JSON's escapes of an emoji would not be YAML's."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _description(spec: JobSpec, info: GeneratorInfo, num_samples: int) -> list[str]:
    licences = [f"- {name}: {licence}" for name, licence in sorted(info.licences.items())]
    return [
        f"# {spec.name or 'Synthetic faces'}",
        "",
        f"{num_samples:,} **synthetic** pictures of faces, {spec.image.size} x {spec.image.size} "
        f"pixels, made by the `{info.kind}` generator of SynthForge. No picture shows a real "
        "person. Every label is derived from the 3D head that made the picture.",
        "",
        *_warning(spec),
        "Licences that the dataset inherits from what made it:",
        "",
        *licences,
        "",
    ]


def _warning(spec: JobSpec) -> list[str]:
    if not spec.generator.untrained:
        return []
    return [
        "**Untrained**: the generator ran with random weights. The pictures are noise, the labels "
        "are those of the head: good for tests and capacity planning, not for training.",
        "",
    ]


def _contents(spec: JobSpec) -> list[str]:
    rows = [f"| `K.{m.suffix}` | {m.meaning} |" for m in members_of(spec)]
    return [
        "## Files of a sample",
        "",
        "| member | content |",
        "|---|---|",
        *rows,
        "",
        "`left` and `right` are the subject's own. Pixel coordinates start at the image's top-left "
        "corner: the first pixel's centre is (0.5, 0.5). Camera axes: x right, y down, z forward; "
        "lengths in metres. `manifest.json` lists every shard with its sha256, `index.parquet` "
        "every sample, `topology.npz` the mesh.",
        "",
    ]


def _classes(spec: JobSpec) -> list[str]:
    if "segmentation" not in spec.annotations:
        return []
    rows = [f"| {class_id} | {name} |" for class_id, name in CLASSES.items()]
    return ["## Classes", "", "| id | class |", "|---|---|", *rows, ""]


def _faces(holdings: Sequence[Holding]) -> list[str]:
    """Tell what the faces are, for audits of bias: words with their shares, means of numbers."""
    if not holdings:
        return []
    rows = [f"| {holding.name} | {_told(holding)} |" for holding in holdings]
    return [
        "## Faces",
        "",
        "As drawn: `attributes` of `K.json`, columns of `index.parquet`, charts in `report.html`.",
        "",
        "| attribute | of all samples |",
        "|---|---|",
        *rows,
        "",
    ]


def _told(holding: Holding) -> str:
    if holding.words:
        return ", ".join(f"{word} {n / holding.count:.1%}" for word, n in holding.words.items())
    return f"mean {holding.mean:.3g}, from {holding.least:.3g} to {holding.most:.3g}"
