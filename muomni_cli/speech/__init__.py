"""How well speech is understood: an independent recognizer and its word errors."""
