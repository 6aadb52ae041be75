"""Speed, measured as a ratio: contestants take turns in one process, so that a noisy machine troubles all alike."""
