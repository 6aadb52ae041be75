"""The built-in Thinker, a decoder-only transformer; importing this package imports nothing else."""
