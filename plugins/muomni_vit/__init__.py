"""The built-in image encoder: a vision transformer. Importing this package imports nothing else."""
