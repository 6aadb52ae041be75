"""One module per command: parse the options, call the library, print. Heavy imports are inside the functions."""
