"""Programs that build or serve what the repository needs; none is installed."""
