"""The built-in codec. Importing this package imports nothing else."""
