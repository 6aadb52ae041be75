"""Speaking a text aloud: which trained parts speak, sample by sample, and where the samples go."""
