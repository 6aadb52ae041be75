"""Recipes: one TOML file describes one model and all its training stages. Parts are referred to by name, not built."""
