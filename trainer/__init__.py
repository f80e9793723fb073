"""Streams shards and trains on them; knows nothing of who made them."""
