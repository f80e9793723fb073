"""An audit of a dataset's labels from its files alone, with mathematics of its own."""
