"""Readers of the real sets, one file each: their own forms on disk to `Sample`."""
