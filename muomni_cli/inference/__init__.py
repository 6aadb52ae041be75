"""Use a trained model on any engine: chat, speech, transcription."""
