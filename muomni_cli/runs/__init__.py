"""Runs: one directory a model, with its recipe, lock, metrics and weights. Nothing here imports torch at import."""
