"""Speech synthesis with a trained Talker, codec and vocoder, and audio output."""
