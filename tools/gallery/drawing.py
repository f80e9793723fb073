"""Draws the pictures of a sheet and lays them side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import cv2
import numpy as np

from synthforge.codecs import Array
from synthforge.jobs import parse_job_spec
from synthforge.samples import SampleMeta
from tools.gallery.sheets import Picture, Sheet, Spec, merged
from workers.encoding import LabelledFace
from workers.face_maker import Candidate, Draw, FaceMaker
from workers.generators.registry import open_generator
from workers.summary.preview import sheet_of
from workers.timing import Stages
from workers.types import UInt8Array

TILE_PX = 144
DRAWN_PX = 288
JPEG_QUALITY = 84
_MOST_ATTEMPTS = 20


def draw_sheet(sheet: Sheet) -> bytes:
    """Return the JPEG of a sheet.

    Raises:
        ValueError: a picture's draws are all refused.
    """
    faces = [face for _, same in groupby(sheet.pictures, _spec) for face in _drawn(list(same))]
    if sheet.has_labels:
        return sheet_of([_as_sample(face) for face in faces])
    captions = [picture.caption for picture in sheet.pictures]
    tiles = [_tile(face.image, caption) for face, caption in zip(faces, captions, strict=True)]
    starts = range(0, len(tiles), sheet.columns)
    rows = [np.concatenate(tiles[i : i + sheet.columns], axis=1) for i in starts]
    picture = np.concatenate(rows)[..., ::-1]
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _spec(picture: Picture) -> Spec:
    return picture.spec


def _drawn(pictures: Sequence[Picture]) -> Iterator[LabelledFace]:
    """Draw pictures of one spec, a chunk of the generator's at a time."""
    spec = parse_job_spec(json.dumps(merged(pictures[0].spec, {"image": {"size": DRAWN_PX}})))
    maker = FaceMaker(spec, open_generator(spec.generator), "numba", Stages())
    for start in range(0, len(pictures), maker.chunk_size):
        chunk = pictures[start : start + maker.chunk_size]
        yield from maker.finish(_accepted(maker, [picture.index for picture in chunk]))


def _accepted(maker: FaceMaker, indices: Sequence[int]) -> list[Candidate]:
    """Return the first draw of each sample that passes the gate."""
    found: dict[int, Candidate] = {}
    for attempt in range(_MOST_ATTEMPTS):
        missing = [index for index in indices if index not in found]
        faces = maker.propose([Draw(index, attempt, "train") for index in missing])
        found |= {
            index: face
            for index, face in zip(missing, faces, strict=True)
            if isinstance(face, Candidate)
        }
        if len(found) == len(indices):
            return [found[index] for index in indices]
    raise ValueError(f"samples {indices}: {_MOST_ATTEMPTS} draws of one were refused")


def _as_sample(face: LabelledFace) -> Mapping[str, Array | SampleMeta]:
    arrays = {"image": face.image, "segmentation": face.segmentation, "depth": face.depth}
    there = {name: array for name, array in arrays.items() if array is not None}
    if face.normal is not None:
        there["normal"] = face.normal
    return {**there, "meta": face.meta}


def _tile(image: UInt8Array, caption: str) -> UInt8Array:
    tile = cv2.resize(image, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    place, font = (4, TILE_PX - 5), cv2.FONT_HERSHEY_SIMPLEX
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, caption, place, font, 0.38, colour, width, cv2.LINE_AA)
    return np.asarray(tile, np.uint8)
