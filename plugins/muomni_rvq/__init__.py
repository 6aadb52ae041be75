"""The built-in codec; importing this package imports nothing else."""
