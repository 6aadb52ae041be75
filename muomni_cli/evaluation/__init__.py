"""Scoring a trained model: cards with a value, an interval and a count, task by task."""
