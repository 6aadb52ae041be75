"""New plugins from templates: packages that work as they are written, to be changed by who asked for them."""
