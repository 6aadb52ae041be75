"""The built-in vocoders; importing this package imports nothing else."""
