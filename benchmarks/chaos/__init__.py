"""A job is made whole while everything around it is killed: `python -m benchmarks.chaos`."""
