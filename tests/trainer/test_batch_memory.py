"""Memory of batches is used again, but never while somebody holds it."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import torch

from trainer.batch_memory import Allocate, Recycled, fresh, shared


@pytest.mark.parametrize("allocate", [fresh, shared, Recycled()])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_memory_has_the_shape_and_type_asked_for(allocate: Allocate, dtype: str) -> None:
    tensor = allocate((2, 3, 4), np.dtype(dtype))
    assert tensor.shape == (2, 3, 4)
    assert tensor.dtype == getattr(torch, dtype)
    tensor.numpy()[...] = 7
    assert int(tensor.to(torch.int64).sum()) == 7 * 24
    assert tensor.is_shared() == (allocate is shared)


def test_memory_comes_again_once_no_view_of_it_is_left() -> None:
    recycled = Recycled()
    held = recycled((4, 5), np.dtype(np.uint8))
    place = held.data_ptr()
    for view in (held[2:].permute(1, 0), held.numpy()[1:], held.view(torch.int8)):
        del held
        gc.collect()
        other = recycled((4, 5), np.dtype(np.uint8))
        assert other.data_ptr() != place, "given out twice"
        held = torch.as_tensor(view)
        del view, other
    del held
    gc.collect()
    taken = [recycled((10, 2), np.dtype(np.uint8)) for _ in range(2)]
    assert place in {tensor.data_ptr() for tensor in taken}


def test_memory_stays_behind_when_a_reader_travels() -> None:
    recycled = pickle.loads(pickle.dumps(Recycled()))
    assert recycled((3,), np.dtype(np.float32)).shape == (3,)
