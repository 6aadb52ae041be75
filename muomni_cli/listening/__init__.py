"""Transcribing sounds with a trained encoder: which one, word by word, and how the words are written down."""
