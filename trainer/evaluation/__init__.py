"""Figures on real sets: what is measured, what was published, and how both are printed."""
