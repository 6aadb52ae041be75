"""Which plugins there are and what they declare: hooks, loading, lookup by name."""
