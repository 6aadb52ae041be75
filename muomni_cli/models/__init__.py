"""Models by name (runs, bundles, installed packages), and packaging them."""
