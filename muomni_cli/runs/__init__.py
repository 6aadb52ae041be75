"""Runs: one folder per model, with its recipe, lock file, metrics and checkpoints."""
