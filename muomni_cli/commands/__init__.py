"""One file a verb: parse, call, print. No logic, and no heavy import outside a function."""
