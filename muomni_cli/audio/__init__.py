"""Audio files, resampling and log-mel spectrograms."""
