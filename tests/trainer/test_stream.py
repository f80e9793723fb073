"""Streams over ranks, workers and stops: every sample once, always in the same order."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.batches import Batch
from trainer.decoding import Sample
from trainer.filters import Filter
from trainer.order import OrderConfig
from trainer.stream import Stream, StreamConfig, open_stream

ORDER = OrderConfig(seed=5, window_shards=2, num_streams=3)
CONFIG = StreamConfig(batch_size=8, order=ORDER)


def keys_of(batch: Batch) -> list[str]:
    """Keys that count: those of weight 1."""
    return [key for key, weight in zip(batch.keys, batch.weight, strict=True) if weight]


def global_batches(streams: list[Stream]) -> list[list[str]]:
    """Join the parts of all ranks; order inside a batch is that of its parts."""
    steps = [list(stream) for stream in streams]
    assert len({len(batches) for batches in steps}) == 1, "ranks take different numbers of steps"
    sizes = {len(batch) for batches in steps for batch in batches[:-1]}
    assert len(sizes) == 1, "parts of whole batches differ in size"
    return [
        sorted(key for batch in parts for key in keys_of(batch))
        for parts in zip(*steps, strict=True)
    ]


def opened(url: Path, num_ranks: int, config: StreamConfig = CONFIG) -> list[Stream]:
    return [
        open_stream(str(url), config, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)
    ]


@pytest.fixture(scope="module")
def one_rank(made: Any) -> list[list[str]]:
    return global_batches(opened(made.folder, 1))


# Four loader processes on purpose, however few cores the machine has.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_any_ranks_and_workers_see_every_sample_once_in_one_order(
    made: Any, one_rank: list[list[str]], num_ranks: int, workers: int
) -> None:
    config = StreamConfig(batch_size=8, order=ORDER, workers=workers, threads=1)
    batches = global_batches(opened(made.folder, num_ranks, config))
    assert batches == one_rank
    assert sorted(chain.from_iterable(batches)) == made.keys[:97]
    assert [len(batch) for batch in batches] == [8] * 12 + [1]


def test_workers_give_batches_in_their_order(made: Any) -> None:
    plain = [batch.keys for batch in opened(made.folder, 1)[0]]
    config = StreamConfig(batch_size=8, order=ORDER, workers=2)
    assert [batch.keys for batch in opened(made.folder, 1, config)[0]] == plain


@pytest.mark.parametrize("stop_after", random.Random(4).sample(range(1, 25), 5))
@pytest.mark.parametrize("ranks_after", [1, 3])
def test_a_stopped_stream_goes_on_exactly_on_other_ranks(
    made: Any, stop_after: int, ranks_after: int
) -> None:
    whole = opened(made.folder, 1)[0]
    expected = [sorted(keys_of(batch)) for _ in range(2) for batch in whole]
    first = opened(made.folder, 2)
    states = []
    for stream in first:
        taken = 0
        while taken < stop_after:
            for _batch in stream:
                taken += 1
                if taken == stop_after:
                    break
        states.append(stream.state_dict())
    assert states[0] == states[1]
    resumed = opened(made.folder, ranks_after)
    for stream in resumed:
        stream.load_state_dict(states[0])
    rest: list[list[str]] = []
    while len(rest) < len(expected) - stop_after:
        rest += global_batches(resumed)
    assert rest == expected[stop_after:]


def test_a_state_goes_on_with_another_batch_size(made: Any) -> None:
    first = open_stream(str(made.folder), CONFIG)
    taken = keys_of(next(iter(first)))
    resumed = open_stream(str(made.folder), StreamConfig(batch_size=5, order=ORDER))
    resumed.load_state_dict(first.state_dict())
    rest = [key for batch in resumed for key in keys_of(batch)]
    assert sorted(taken + rest) == made.keys[:97]
    assert resumed.epoch == 1


def test_a_state_of_another_stream_is_refused(made: Any) -> None:
    state = open_stream(str(made.folder), CONFIG).state_dict()
    other = open_stream(str(made.folder), StreamConfig(order=OrderConfig(seed=6)))
    with pytest.raises(ValueError, match=r"stream state has order \[5, 2, 3\], this stream \[6"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="version 9"):
        other.load_state_dict({**state, "version": 9})


def test_epochs_differ_and_come_again(made: Any) -> None:
    stream = open_stream(str(made.folder), CONFIG)
    first, second = ([key for batch in stream for key in batch.keys] for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second)
    assert [key for batch in open_stream(str(made.folder), CONFIG) for key in batch.keys] == first
    assert len(stream) == 13


def test_a_dropped_last_batch_leaves_whole_ones(made: Any) -> None:
    config = StreamConfig(batch_size=8, order=ORDER, drop_last=True)
    stream = open_stream(str(made.folder), config)
    assert [len(batch) for batch in stream] == [8] * 12
    assert stream.epoch == 1


def test_an_epoch_that_makes_no_batch_is_refused_and_a_rest_that_makes_none_is_passed_over(
    made: Any,
) -> None:
    huge = StreamConfig(batch_size=98, order=ORDER, drop_last=True)
    with pytest.raises(ValueError, match=r"batch_size is 98 .* an epoch has 97 samples"):
        next(iter(open_stream(str(made.folder), huge)))
    small = open_stream(str(made.folder), CONFIG)
    next(iter(small))
    large = open_stream(str(made.folder), replace(huge, batch_size=96))
    large.load_state_dict(small.state_dict())
    assert list(large) == []
    assert [len(batch) for batch in large] == [96]


def test_short_ranks_are_filled_up_with_weight_zero(made: Any) -> None:
    last = [list(stream)[-1] for stream in opened(made.folder, 3)]
    assert [len(batch) for batch in last] == [1, 1, 1]
    assert sum(float(batch.weight.sum()) for batch in last) == 1.0
    uneven = [next(iter(stream)) for stream in opened(made.folder, 3)]
    assert [float(batch.weight.sum()) for batch in uneven] == [3.0, 3.0, 2.0]


def test_values_arrive_as_they_were_written(made: Any) -> None:
    batch = next(iter(open_stream(str(made.folder), CONFIG)))
    index = int(batch.keys[0])
    image = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert torch.equal(batch.image[0].permute(1, 2, 0), torch.from_numpy(image))
    assert batch.depth is not None
    assert batch.depth.dtype == torch.uint16
    assert int(batch.depth.to(torch.int32).max()) > 60_000
    assert batch.segmentation is not None
    assert torch.equal(batch.segmentation[0], torch.from_numpy(image[..., 0] % 20))
    assert batch.landmarks_px is not None
    assert batch.landmarks_px.shape == (8, 68, 2)
    assert batch.pose_deg is not None
    assert float(batch.pose_deg[0, 0]) == index % 90 - 45


def test_a_batch_names_its_samples_shapes_and_types_in_a_line(made: Any) -> None:
    config = StreamConfig(batch_size=4, fields=("image", "depth"))
    batch = next(iter(open_stream(str(made.folder), config)))
    first, *_, last = batch.keys
    assert repr(batch) == (
        f"Batch(4 samples: {first}, ..., {last}; weight=(4,) float32, "
        "image=(4, 3, 16, 16) uint8, depth=(4, 16, 16) uint16)"
    )
    meta = batch.to("meta")
    assert repr(meta).endswith("depth=(4, 16, 16) uint16 on meta)")


def test_only_the_fields_asked_for_are_read(made: Any) -> None:
    config = StreamConfig(batch_size=4, fields=("image", "depth"))
    batch = next(iter(open_stream(str(made.folder), config)))
    assert batch.depth is not None
    assert batch.segmentation is None
    assert batch.landmarks_px is None
    with pytest.raises(ValueError, match="field 'albedo'"):
        open_stream(str(made.folder), StreamConfig(fields=("image", "albedo")))
    with pytest.raises(ValueError, match="'image' must be among them"):
        StreamConfig(fields=("depth",))


def test_filters_and_splits_leave_what_they_name(made: Any) -> None:
    filters = (Filter("head.yaw_deg", -30, 10), Filter("seen", low=1))
    config = StreamConfig(split=None, filters=filters, order=ORDER)
    kept = sorted(key for batch in open_stream(str(made.folder), config) for key in keys_of(batch))
    expected = [key for key in made.keys if -30 <= int(key) % 90 - 45 <= 10 and int(key) % 3 == 2]
    assert kept == expected
    held_out = open_stream(str(made.folder), StreamConfig(split="val"))
    assert sorted(key for batch in held_out for key in keys_of(batch)) == made.keys[97:]
    with pytest.raises(
        ValueError, match="split 'test' is not in the dataset, which has train, val"
    ):
        open_stream(str(made.folder), StreamConfig(split="test"))
    with pytest.raises(ValueError, match="no sample is left"):
        open_stream(str(made.folder), StreamConfig(filters=(Filter("head.yaw_deg", 80, 90),)))
    with pytest.raises(ValueError, match="sample 0 has no such number"):
        open_stream(str(made.folder), StreamConfig(filters=(Filter("head.betas"),)))


def test_several_datasets_are_mixed_by_weight(made: Any, make_dataset: Any, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", {"train": [6, 6]}, first_index=1000)
    stream = open_stream([str(made.folder), str(other.folder)], CONFIG, weights=[0.5, 0.5])
    assert stream.num_samples == 109
    counts = Counter(int(key) >= 1000 for batch in stream for key in keys_of(batch))
    assert abs(counts[True] - counts[False]) < 30
    assert sum(counts.values()) == 109


def noise(sample: Sample, generator: np.random.Generator) -> Sample:
    image = np.full_like(sample.image, generator.integers(256))
    return Sample(key=sample.key, image=image)


def test_augmentation_depends_on_seed_epoch_and_key_alone(made: Any) -> None:
    def values(num_ranks: int, workers: int, epochs: int = 1) -> dict[tuple[str, int], int]:
        config = StreamConfig(batch_size=7, order=ORDER, workers=workers)
        found = {}
        for rank in range(num_ranks):
            stream = open_stream(
                str(made.folder), config, transform=noise, rank=rank, num_ranks=num_ranks
            )
            for epoch in range(epochs):
                for batch in stream:
                    for key, image in zip(batch.keys, batch.image, strict=True):
                        found[key, epoch] = int(image[0, 0, 0])
        return found

    plain = values(1, 0, epochs=2)
    assert values(3, 2, epochs=2) == plain
    changed = sum(plain[key, 0] != plain[key, 1] for key in made.keys[:97])
    assert changed > 80
    assert len(set(plain.values())) > 80


def test_loader_processes_leave_the_random_state_alone(made: Any) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(open_stream(str(made.folder), StreamConfig(workers=1)))
    assert torch.equal(torch.get_rng_state(), before)
