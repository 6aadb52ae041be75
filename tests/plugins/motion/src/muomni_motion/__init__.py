"""Motion sensors for muomni."""
