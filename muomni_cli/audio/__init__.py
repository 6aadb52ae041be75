"""Audio files, resampling and log-mel spectrograms, shared by all parts."""
