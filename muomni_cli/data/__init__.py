"""Sources -> token shards -> windows. NumPy, no torch. Its modules are imported one by one: chat needs few of them."""
