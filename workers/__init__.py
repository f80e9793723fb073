"""Turns a shard plan into a shard record: draws, renders, labels, judges, encodes, uploads."""

import os

# Tensors of 2 MiB and more in huge pages, where Linux gives them on request: a fresh tensor costs a
# fault a page, a quarter of the time of Next3D's convolutions at full size. torch reads it once, at
# the first tensor of the process; an operator's own setting stands.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
