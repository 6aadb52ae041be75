"""Written words as they are spoken: tables, and a reader for each kind of word. Needs the standard library only."""
