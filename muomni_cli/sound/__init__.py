"""Sound as files, samples and mel frames, for all parts alike. Importing this package imports nothing else."""
