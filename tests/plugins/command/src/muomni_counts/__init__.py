"""Commands that count. Importing this package imports nothing else."""
