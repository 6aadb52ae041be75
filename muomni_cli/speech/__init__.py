"""How well speech is understood: an independent recogniser and its word errors."""
