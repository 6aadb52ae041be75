"""Templates of new plugins: packages that work as generated and are meant to be edited."""
