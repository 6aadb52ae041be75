"""Using a trained model, whatever engine runs it: chat, speech, transcription."""
