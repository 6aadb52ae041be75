"""Talking to a trained model: one answer, or a conversation at a terminal."""
