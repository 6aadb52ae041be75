"""Training: one loop and one checkpoint format for every stage."""
