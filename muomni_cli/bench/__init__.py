"""Benchmarks: contestants take turns in one process, and speed is reported as a ratio, so machine noise affects all
alike."""
