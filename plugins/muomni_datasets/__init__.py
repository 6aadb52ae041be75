"""The built-in sources: text, conversations, pictures and sounds, from files or made by the project itself."""
