"""The network: a shared encoder and decoder, and a head a task."""
