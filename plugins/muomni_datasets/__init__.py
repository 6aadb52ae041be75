"""The built-in sources of text: files, JSON Lines, conversations, and tales the project makes itself."""
