"""What is wrong with one sample's files, as lines that name the member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from synthforge.codecs import Array, CodecError, check_array, decode_array, decode_meta
from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.samples import Member, SampleMeta, members_of
from synthforge.truth_checks import truth_faults

_SECTIONS: Final = ("camera", "head", "landmarks68")  # each of an annotation of that name
_IS_NO_CLASS: Final = np.array([class_id not in CLASSES for class_id in range(256)])


@dataclass(frozen=True)
class SampleExpectation:
    """What a job's spec says of each of its samples.

    Attributes:
        spec: the job.
        members: of a sample, in order.
    """

    spec: JobSpec
    members: tuple[Member, ...]

    @classmethod
    def of(cls, spec: JobSpec) -> SampleExpectation:
        """Return what a job promises."""
        return cls(spec, members_of(spec))

    def faults(
        self, files: Sequence[tuple[str, bytes]], index: int, split: str, num_vertices: int | None
    ) -> Iterator[str]:
        """Yield what is wrong with a sample.

        Args:
            files: suffix and bytes, in the order of the tar.
            index: that the plan gives it.
            split: of its shard.
            num_vertices: of `dense`, where known.
        """
        found = [suffix for suffix, _ in files]
        wanted = [member.suffix for member in self.members]
        if found != wanted:
            yield f"members {' '.join(found)}; {' '.join(wanted)} would do"
            return
        size = self.spec.image.size
        sizes = {"H": size, "W": size} | ({} if num_vertices is None else {"V": num_vertices})
        arrays: dict[str, Array] = {}
        faults: list[str] = []
        for member, (_, data) in zip(self.members, files, strict=True):
            if member.encoding != "json":
                try:
                    arrays[member.name] = _checked(member, data, sizes)
                except CodecError as error:
                    faults.append(str(error))
        yield from self._meta_faults(files[-1][1], index, split, arrays.get("segmentation"))
        yield from faults
        for name, array in arrays.items():
            yield from _value_faults(name, array)

    def _meta_faults(
        self, data: bytes, index: int, split: str, segmentation: Array | None
    ) -> Iterator[str]:
        try:
            meta = decode_meta(data)
        except CodecError as error:
            yield str(error)
            return
        size = self.spec.image.size
        wanted = {"index": index, "identity": index // self.spec.identity.views, "split": split}
        for name, value in (wanted | {"width": size, "height": size}).items():
            if (held := getattr(meta, name)) != value:
                yield f"meta: {name} is {held!r}; {value!r} would do"
        yield from self._section_faults(meta)
        yield from truth_faults(meta, segmentation)
        if meta.to_json() != data:
            yield "meta: not the canonical JSON (keys sorted, no spaces)"

    def _section_faults(self, meta: SampleMeta) -> Iterator[str]:
        for section in _SECTIONS:
            is_there = getattr(meta, section) is not None
            is_asked_for = section in self.spec.annotations
            if is_there != is_asked_for:
                yield f"meta: {section} is {'there' if is_there else 'missing'}, against the job"


def num_vertices_of(files: Sequence[tuple[str, bytes]], members: Sequence[Member]) -> int | None:
    """Return how many vertices a sample's `dense` has; None without one that can be read."""
    for member, (suffix, data) in zip(members, files, strict=False):
        if member.name == "dense" and suffix == member.suffix:
            try:
                return len(decode_array(member, data))
            except CodecError:
                return None
    return None


def _checked(member: Member, data: bytes, sizes: dict[str, int]) -> Array:
    array = decode_array(member, data)
    check_array(member, array, sizes)
    return array


def _value_faults(name: str, array: Array) -> Iterator[str]:
    if name == "segmentation":
        counts = np.bincount(array.ravel(), minlength=256)
        for class_id in np.flatnonzero(_IS_NO_CLASS & (counts > 0)):
            yield f"segmentation: {counts[class_id]} pixels of {class_id}, which is no class"
    elif name == "dense" and not np.isfinite(array).all():
        yield "dense: a coordinate is not finite"
