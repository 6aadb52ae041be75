"""The built-in audio encoder. Importing this package imports nothing else."""
