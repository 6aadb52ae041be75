"""A channel vocoder. Importing this package imports nothing else."""
