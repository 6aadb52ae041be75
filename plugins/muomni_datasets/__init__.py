"""The built-in data sources: text, conversations, pictures and sounds, from files or generated."""
