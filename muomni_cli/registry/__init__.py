"""Which plugins exist and what they declare: hooks, plugin loading, lookup by name."""
