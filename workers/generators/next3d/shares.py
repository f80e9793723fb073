"""Loops of our own shared out to as many threads as torch uses; in a worker that is one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import torch


def shared_out(work: Callable[[int, int], None], count: int) -> None:
    """Call `work(first, stop)` for parts that make up 0 to `count`, and wait for all.

    No part may read what another writes, so that the result does not depend on their number. Within
    one, torch uses one thread: its own would wait busily for each other on the cores of ours.
    """
    threads = torch.get_num_threads()
    if min(threads, count) <= 1:
        work(0, count)
        return
    parts = list(pairwise(count * i // threads for i in range(threads + 1)))
    others = [_pool(threads - 1).submit(work, *part) for part in parts[1:]]
    torch.set_num_threads(1)  # of the calling thread: the setting is each one's own in OpenMP
    try:
        work(*parts[0])
    finally:
        torch.set_num_threads(threads)
        for other in others:
            other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "shares", initializer=torch.set_num_threads, initargs=(1,))
