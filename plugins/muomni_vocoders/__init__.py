"""The built-in vocoders. Importing this package imports nothing else."""
