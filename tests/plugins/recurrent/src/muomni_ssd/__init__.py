"""A Thinker that remembers by a state of fixed size. Importing this package imports nothing else."""
