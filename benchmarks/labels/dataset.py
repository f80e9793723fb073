"""Reads a dataset from its URL: manifest, topology, samples. Nothing but its files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from benchmarks.labels.geometry import BoolArray, patches
from synthforge.codecs import Array, decode_array, decode_meta
from synthforge.jobs import JobSpec
from synthforge.samples import SampleMeta, member_of_suffix, split_member_name
from synthforge.shards import MANIFEST_NAME, TOPOLOGY_NAME, Manifest
from synthforge.storage import Storage, open_storage
from synthforge.tar_format import read_tar

NUM_RINGS = 2  # triangles on from a landmark's own: a pixel beside it shows one of these


@dataclass(frozen=True)
class Sample:
    """One sample as its files have it.

    Attributes:
        meta: its JSON.
        arrays: every other member by its name in `synthforge.samples.MEMBERS`.
    """

    meta: SampleMeta
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A dataset that can be walked through.

    Attributes:
        spec: the job that made it.
        topology: arrays of `topology.npz`.
        patches: (51, F) whether a triangle lies around an inner landmark, `NUM_RINGS` away at most.
        num_samples: in all shards.
    """

    spec: JobSpec
    topology: dict[str, Array]
    patches: BoolArray
    num_samples: int
    _storage: Storage
    _manifest: Manifest

    def samples(self, limit: int) -> Iterator[Sample]:
        """Yield up to `limit` samples, spread evenly over the shards, in their order."""
        stride = max(1, self.num_samples // limit)
        position = 0
        for shard in self._manifest.shards:
            members = (
                (*split_member_name(member.name), member.data)
                for member in read_tar(self._storage.stream(shard.name))
            )
            for _, group in groupby(members, key=lambda member: member[0]):
                files = {suffix: data for _, suffix, data in group}
                if position % stride == 0 and position // stride < limit:
                    yield _decoded(files)
                position += 1


def open_dataset(url: str) -> Dataset:
    """Open the dataset whose manifest lies under a URL.

    Raises:
        NotFound: no manifest is there.
    """
    storage = open_storage(url)
    manifest = Manifest.model_validate_json(storage.get_bytes(MANIFEST_NAME))
    with np.load(io.BytesIO(storage.get_bytes(TOPOLOGY_NAME)), allow_pickle=False) as archive:
        topology = dict(archive)
    around = patches(topology["faces"], topology["landmark_face"], NUM_RINGS)
    return Dataset(manifest.job, topology, around, manifest.num_samples, storage, manifest)


def _decoded(files: dict[str, bytes]) -> Sample:
    arrays = {}
    for suffix, data in files.items():
        member = member_of_suffix(suffix)
        if member.encoding != "json":
            arrays[member.name] = decode_array(member, data)
    return Sample(decode_meta(files["json"]), arrays)
