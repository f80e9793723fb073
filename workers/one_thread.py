"""One thread for every kernel: sums then have one order, whatever the machine is set to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

NUM_THREADS = 1  # a constant of the release: another number is another fingerprint's bytes


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block with one compute thread, then give the caller its own number back.

    The setting is the calling thread's own in OpenMP, so each thread that computes enters here.
    """
    torch_threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(NUM_THREADS)
    cv2.setNumThreads(NUM_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv_threads)
