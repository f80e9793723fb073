"""Loops of our own shared out to as many threads as torch uses; in a worker that is one."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise

import torch


def shared_out(work: Callable[[int, int], None], count: int) -> None:
    """Call `work(first, stop)` for parts that make up 0 to `count`, and wait for all.

    No part may read what another writes. Within one, torch uses one thread, as its own would wait
    busily for each other on the cores of ours, and computes no gradients. Parts depend on the
    number of threads, and roundings may with them.

    torch keeps the number of threads for each of them, but gives a new thread the number that was
    set last by whichever: one that first uses torch during this call keeps one thread.
    """
    threads = torch.get_num_threads()
    if min(threads, count) <= 1:
        _alone(work, (0, count))
        return
    parts = list(pairwise(count * i // threads for i in range(threads + 1)))
    others = [_pool(threads - 1).submit(_alone, work, part) for part in parts[1:]]
    torch.set_num_threads(1)
    try:
        _alone(work, parts[0])
    finally:
        wait(others)
        torch.set_num_threads(threads)
    for other in others:
        other.result()


def _alone(work: Callable[[int, int], None], part: tuple[int, int]) -> None:
    with torch.inference_mode():  # each thread has its own mode
        work(*part)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "shares", initializer=_take_one_thread)


def _take_one_thread() -> None:
    torch.get_num_threads()  # a thread's first question gives it the number set last
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads
