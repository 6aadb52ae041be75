"""Training: one loop for every stage, one checkpoint format. Knows no model and no recipe syntax."""
