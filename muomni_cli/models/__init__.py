"""Models by name: runs, bundles, and those that packages carry; and making such packages."""
