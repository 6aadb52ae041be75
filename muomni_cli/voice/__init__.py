"""Speech synthesis with a trained Talker, codec and vocoder, and where the audio goes."""
