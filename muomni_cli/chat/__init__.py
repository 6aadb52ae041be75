"""Chat with a trained model: a single answer, or a session at the terminal."""
