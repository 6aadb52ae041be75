"""newpart, a model for muomni."""
