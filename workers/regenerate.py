"""Makes one sample of a dataset again, byte for byte, from its manifest alone."""

from __future__ import annotations

from pathlib import Path

from synthforge.assets import assets_of_kind
from synthforge.samples import members_of
from synthforge.shards import IndexRange, Manifest, ShardPlan, ShardRecord
from workers.assets.snapshot import AssetSnapshot
from workers.device import device_model
from workers.encoding import EncodedSample, encode_face
from workers.face_maker import FaceMaker
from workers.face_stream import FaceStream
from workers.fingerprint import fingerprint
from workers.generators.registry import open_generator, read_hashes
from workers.one_thread import one_thread
from workers.raster.select import as_backend
from workers.timing import Stages


def regenerate(manifest: Manifest, index: int) -> tuple[EncodedSample, bool]:
    """Make a sample again, by the rasteriser that its shard was made by.

    Args:
        manifest: of the dataset.
        index: of the sample.

    Returns:
        The sample's files, and whether this machine has the fingerprint of the shard that holds
        the sample: if so the bytes are the shard's; if not, labels agree to stated tolerances.

    Raises:
        ValueError: the dataset holds no such sample, or names a rasteriser that is not here.
    """
    shard = shard_of(manifest, index)
    spec = manifest.job
    recorded = manifest.generator.fingerprints.get(shard.fingerprint)
    backend = as_backend("numba" if recorded is None else recorded.backend)
    assets = AssetSnapshot.of(None, assets_of_kind(spec.generator.kind))
    with one_thread():
        generator = open_generator(spec.generator, assets)
        plan = ShardPlan(
            split=shard.split,
            number=shard.number,
            indices=(IndexRange(start=index, stop=index + 1),),
        )
        maker = FaceMaker(spec, generator, backend, Stages())
        faces = [face for chunk in FaceStream(maker, spec, plan, _go_on).chunks() for face in chunk]
        sample = encode_face(faces[0], members_of(spec), jpeg_quality=spec.image.quality)
    own = fingerprint(read_hashes(assets), backend, device_model())
    return sample, own.id == shard.fingerprint


def shard_of(manifest: Manifest, index: int) -> ShardRecord:
    """Return the shard that holds a sample.

    Raises:
        ValueError: no shard does.
    """
    for shard in manifest.shards:
        if any(piece.start <= index < piece.stop for piece in shard.indices):
            return shard
    raise ValueError(f"--index {index}: the dataset holds samples 0 to {manifest.num_samples - 1}")


def write_sample(sample: EncodedSample, folder: Path) -> list[Path]:
    """Write a sample's files into a folder, under the names that the shard gives them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, data in sample.members:
        path = folder / f"{sample.key}.{suffix}"
        path.write_bytes(data)
        paths.append(path)
    return paths


def _go_on(_index: int) -> None:
    """Never stop."""
