"""The metrics of ``muomni eval``, by stage."""
