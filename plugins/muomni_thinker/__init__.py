"""The built-in Thinker: a decoder-only transformer. Importing this package imports nothing else."""
