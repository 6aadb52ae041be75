"""The built-in Talkers. Importing this package imports nothing else."""
