"""The registry of licensed files: what it holds, what a generator needs of it, and whose it is.

    REGISTRY/index/<kind>.json                one asset each, written after its file
    REGISTRY/files/<kind>-<12 hex>.npz        converted files, each named by its own sha256

A registry is a directory or an s3:// prefix, named by SYNTHFORGE_ASSETS. The service reads the
index when a job is posted; `workers/assets` writes it and fetches the files. One document a kind:
whoever imports something else at the same time is not written over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from synthforge.distributions import STRICT
from synthforge.jobs import Generator, GeneratorKind
from synthforge.shards import Count, Sha256
from synthforge.storage import NotFound, Storage
from synthforge.urls import check_key

ASSETS_VARIABLE: Final = "SYNTHFORGE_ASSETS"
SET_TO: Final = f"{ASSETS_VARIABLE} to a folder or an s3:// URL"  # what a message asks for
INDEX_FOLDER: Final = "index"
FILES_FOLDER: Final = "files"
SCHEMA_VERSION: Final = 1
MAX_ENTRY_BYTES: Final = 1 << 16

AssetKind = Literal[
    "flame_model",
    "flame_static_embedding",
    "flame_dynamic_embedding",
    "flame_masks",
    "flame_texture_uv",
    "next3d_checkpoint",
    "next3d_topology",
    "semantic_map",
    "calibration",
    "ict_head",
]
KINDS: Final[tuple[AssetKind, ...]] = AssetKind.__args__  # type: ignore[attr-defined]
PlaneWiring = Literal["front-plane", "three-plane"]

NEEDED: Final[Mapping[str, tuple[AssetKind, ...]]] = {
    "builtin": (),
    "ict": ("ict_head",),
    "next3d": (
        "flame_model",
        "flame_static_embedding",
        "flame_dynamic_embedding",
        "next3d_checkpoint",
    ),
}
"""What a head model (`Generator.head_model`) cannot do without.

A generator takes what else it knows where the registry has it."""

_TAKEN: Final[Mapping[str, tuple[AssetKind, ...]]] = {
    "builtin": (),
    "ict": NEEDED["ict"],
    "next3d": (*NEEDED["next3d"], "semantic_map", "calibration"),
}
_TAKEN_UNTRAINED: Final[tuple[AssetKind, ...]] = (
    "flame_model",
    "flame_static_embedding",
    "flame_dynamic_embedding",
    "flame_texture_uv",
    "semantic_map",
)

IMPORTED: Final[tuple[AssetKind, ...]] = tuple(kind for kind in KINDS if kind != "calibration")
"""Kinds that come from files of users; a calibration is fitted."""


class AssetError(ValueError):
    """The registry, or a file of it, is not what it should be; one line says what would do."""


class Provenance(BaseModel):
    """Where a converted file comes from.

    Attributes:
        imported_at: UTC, ISO 8601, to the second.
        file: name of the file that was imported.
        sha256: of that file.
        num_bytes: of that file.
        tool: program and version that converted it.
        notes: what else the import found out, by name: sha256 of an embedded source, a residual.
    """

    model_config = STRICT
    imported_at: str
    file: str
    sha256: Sha256
    num_bytes: Count
    tool: str
    notes: dict[str, str] = Field(default_factory=dict)


class AssetEntry(BaseModel):
    """A file of the registry.

    Attributes:
        kind: what it is to us; a registry holds one of a kind.
        name: what it is to people: "FLAME 2023".
        version: of the source; empty where it has none.
        file: its key under the registry.
        sha256: of the converted file.
        num_bytes: of the converted file.
        licence: terms that a dataset made with it inherits.
        source: where its publisher offers it.
        wiring: of a checkpoint: which planes its weights were trained with.
    """

    model_config = STRICT
    schema_version: Literal[1] = SCHEMA_VERSION
    kind: AssetKind
    name: str
    version: str = ""
    file: str
    sha256: Sha256
    num_bytes: Count
    licence: str
    source: str
    wiring: PlaneWiring | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        check_key(self.file)
        if (self.kind == "next3d_checkpoint") != (self.wiring is not None):
            raise ValueError(f"wiring is {self.wiring!r}: a checkpoint, and nothing else, has one")
        return self

    def to_json(self) -> bytes:
        """Return the bytes that are stored."""
        return self.model_dump_json(indent=1).encode() + b"\n"


@dataclass(frozen=True)
class OfficialSource:
    """Where users get an asset, and on which terms.

    Attributes:
        name: what its publisher calls it.
        site: where it is offered.
        files: names under which it is distributed.
        licence: terms in one line, as recorded for datasets made with it.
    """

    name: str
    site: str
    files: str
    licence: str


FLAME_SITE: Final = "https://flame.is.tue.mpg.de"
FLAME_LICENCE: Final = "MPI academic model licence: non-commercial, no redistribution"
FLAME_OPEN_LICENCE: Final = "FLAME 2023 Open: CC BY 4.0 with restrictions on use"
ICT_LICENCE: Final = "ICT-FaceKit: MIT, USC Institute for Creative Technologies"
_RINGNET_LICENCE: Final = "RingNet: MIT licence file; README says non-commercial research"
_NEXT3D_LICENCE: Final = "Next3D: no licence file; NVIDIA EG3D terms: non-commercial research"

OFFICIAL_SOURCES: Final[Mapping[AssetKind, OfficialSource]] = {
    "flame_model": OfficialSource(
        "FLAME head model",
        FLAME_SITE,
        "generic_model.pkl (2020), flame2023.pkl, flame2023_Open.pkl",
        FLAME_LICENCE,
    ),
    "flame_static_embedding": OfficialSource(
        "FLAME landmark embedding, 51 fixed points",
        "https://github.com/soubhiksanyal/RingNet",
        "flame_static_embedding.pkl",
        _RINGNET_LICENCE,
    ),
    "flame_dynamic_embedding": OfficialSource(
        "FLAME landmark embedding, 17 contour points",
        "https://github.com/soubhiksanyal/RingNet",
        "flame_dynamic_embedding.npy",
        _RINGNET_LICENCE,
    ),
    "flame_masks": OfficialSource(
        "FLAME vertex masks", FLAME_SITE, "FLAME_masks.pkl", FLAME_LICENCE
    ),
    "flame_texture_uv": OfficialSource(
        "FLAME UV layout",
        FLAME_SITE,
        "FLAME_texture.npz, FLAME_albedo_from_BFM.npz or head_template.obj (the layout alone)",
        FLAME_LICENCE,
    ),
    "next3d_checkpoint": OfficialSource(
        "Next3D generator",
        "https://github.com/MrTornado24/Next3D",
        "next3d_ffhq_512.pkl",
        _NEXT3D_LICENCE,
    ),
    "next3d_topology": OfficialSource(
        "Next3D mesh topology and eye mask",
        "https://github.com/MrTornado24/Next3D",
        "next3d_ffhq_512.pkl, imported with it",
        _NEXT3D_LICENCE,
    ),
    "semantic_map": OfficialSource(
        "semantic map in FLAME's UV layout",
        "you, in the place of ours",
        "a PNG of class ids",
        "semantic map: as its author says",
    ),
    "ict_head": OfficialSource(
        "ICT-FaceKit head",
        "https://github.com/ICT-VGL/ICT-FaceKit",
        "a clone: import ict-facekit DIR",
        ICT_LICENCE,
    ),
    "calibration": OfficialSource(
        "mesh-to-volume calibration",
        "synthforge assets calibrate",
        "",
        "calibration: as the checkpoint's",
    ),
}


def registry_url(environment: Mapping[str, str] | None = None) -> str | None:
    """Return what SYNTHFORGE_ASSETS says, or None where it is not set."""
    return (os.environ if environment is None else environment).get(ASSETS_VARIABLE) or None


def index_key(kind: AssetKind) -> str:
    """Return where a registry describes its asset of a kind."""
    return f"{INDEX_FOLDER}/{kind}.json"


def find_asset(storage: Storage, kind: AssetKind) -> AssetEntry | None:
    """Read a registry's asset of a kind, if it has one.

    Raises:
        AssetError: its description is malformed.
        StorageError: the store does not answer.
    """
    key = index_key(kind)
    try:
        entry = AssetEntry.model_validate_json(storage.get_bytes(key, max_bytes=MAX_ENTRY_BYTES))
    except NotFound:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise AssetError(
            f"{storage.url}/{key}: {where}: {first['msg']}; import the asset again"
        ) from None
    if entry.kind != kind:
        raise AssetError(f"{storage.url}/{key} describes a {entry.kind}; import the asset again")
    return entry


def needed_assets(generator: Generator) -> tuple[AssetKind, ...]:
    """Return the kinds that a generator cannot do without; an untrained one needs none."""
    return () if generator.untrained else NEEDED[generator.head_model]


def taken_assets(generator: Generator) -> tuple[AssetKind, ...]:
    """Return the kinds that a generator takes where a registry has them; it sees no other."""
    return _TAKEN_UNTRAINED if generator.untrained else _TAKEN[generator.head_model]


def assets_of_kind(kind: GeneratorKind) -> tuple[AssetKind, ...]:
    """Return what any generator of a kind may take: an actor's fingerprint is of these."""
    taken = {"builtin": _TAKEN["ict"], "next3d": (*_TAKEN["next3d"], *_TAKEN_UNTRAINED)}[kind]
    return tuple(dict.fromkeys(taken))


def missing_assets(storage: Storage, generator: Generator) -> tuple[AssetKind, ...]:
    """Return the kinds that a generator needs and a registry lacks; errors as `find_asset`."""
    return tuple(kind for kind in needed_assets(generator) if find_asset(storage, kind) is None)


def asset_hashes(entries: Iterable[AssetEntry]) -> dict[str, str]:
    """Return sha256 by kind, as a manifest keeps them."""
    return {entry.kind: entry.sha256 for entry in entries}


def asset_licences(entries: Iterable[AssetEntry]) -> dict[str, str]:
    """Return the terms that a dataset inherits, by the name of what it inherits them from."""
    return {entry.name: entry.licence for entry in entries}


def asset_versions(entries: Iterable[AssetEntry]) -> dict[str, str]:
    """Return the versions of the assets that have one, by kind."""
    return {entry.kind: entry.version for entry in entries if entry.version}
