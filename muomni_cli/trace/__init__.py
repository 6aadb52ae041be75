"""The dry run of a question through a real model: every step with its shapes, time and statistics."""
