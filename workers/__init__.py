"""Turns a shard plan into a shard record: draws, renders, labels, judges, encodes, uploads."""
