"""What a training step frees, the next one gets back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# In a process of its own: the heap is that of the whole process. Tensors of some MiB stay mapped
# each by itself without the call, and each step has as many new pages as the one before.
NEW_PAGES_OF_THE_LAST_STEPS = """
import resource, torch
from trainer.heap import keep_freed_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(size_mib << 18) for size_mib in (33, 48, 40, 64, 36)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
print(sum([new_pages() for _ in range(20)][-5:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_after_some_steps_a_step_s_tensors_come_as_no_new_pages() -> None:
    command = [sys.executable, "-c", NEW_PAGES_OF_THE_LAST_STEPS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 5_000  # of 283,000
