"""Checkpoints in Hugging Face's format: imported as runs, and exported from them."""
