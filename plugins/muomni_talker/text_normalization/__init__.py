"""Text normalization for speech: tables, and a reader for each kind of word."""
