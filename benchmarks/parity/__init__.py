"""Compares our numbers with fixtures recorded from the published code, a line each."""
