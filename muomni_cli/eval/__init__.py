"""``muomni eval``: metrics of every trained stage on held-out data, with confidence intervals."""
