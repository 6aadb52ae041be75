"""HTML pages that commands write: one file each, with everything in it, for `eval --html` and `trace --html`."""
