"""The control plane: decides and remembers; never sees a pixel."""
