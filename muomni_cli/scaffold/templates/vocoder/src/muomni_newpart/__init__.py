"""newpart, a plugin for muomni."""
